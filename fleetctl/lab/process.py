"""The lab's daemon, `python -m fleetctl.lab.process FOLDER`: keeps the boards that `wanted.json` asks for.

One process serves all boards. SIGHUP makes it read `wanted.json` again; SIGTERM switches everything off.
"""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import IO

from msgspec.structs import replace

from fleetctl.lab import processes
from fleetctl.lab.board import PoweredBoard
from fleetctl.lab.detached import detach, is_at, lock
from fleetctl.lab.ports import hold
from fleetctl.lab.state import LabFiles, LabState

_BOOTS_AT_ONCE = 2 * (os.cpu_count() or 1)
_LOOK_EVERY = 1.0  # seconds
_OPEN_FILES = 10_240  # the most macOS allows


class Daemon:
    """Makes the boards follow `wanted.json`, one change at a time."""

    def __init__(self, files: LabFiles, lock: IO[bytes]) -> None:
        self._files = files
        self._lock = lock
        self._boards: dict[str, PoweredBoard] = {}
        self._seats: dict[int, socket.socket | None] = {}  # ports for services that do not run yet
        self._asked = asyncio.Event()
        self._ending = False

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._asked.set)
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(ending, self._end)
        self._asked.set()
        while not self._ending:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), _LOOK_EVERY)
            if not is_at(self._lock, self._files.daemon):  # the folder was removed: nobody could ever end us
                break
            if self._asked.is_set() and not self._ending:
                self._asked.clear()
                await self._follow()
        await self._switch_off(list(self._boards.values()))

    def _end(self) -> None:
        self._ending = True
        self._asked.set()

    async def _follow(self) -> None:
        """Switch boards on and off as wanted, and write down how it is now."""
        wanted = LabState.read(self._files.wanted)
        if wanted is None:
            return
        for name, record in wanted.boards.items():
            if record.serve_port not in self._seats:
                self._seats[record.serve_port] = hold(record.serve_port)
            if name not in self._boards or not self._boards[name].record.online:
                self._boards[name] = PoweredBoard(name, record, self._files)
        on = [
            board
            for name, board in self._boards.items()
            if name in wanted.boards and wanted.boards[name].online
        ]
        await self._switch_off(
            [board for board in self._boards.values() if board.record.online and board not in on]
        )
        await self._switch_on([board for board in on if not board.record.online])
        boards = {name: self._boards[name].record for name in wanted.boards}
        replace(wanted, boards=boards, pid=os.getpid()).write(self._files.state)

    async def _switch_on(self, boards: list[PoweredBoard]) -> None:
        slots = asyncio.Semaphore(_BOOTS_AT_ONCE)

        async def boot(board: PoweredBoard) -> None:
            async with slots:
                await board.switch_on()

        await asyncio.gather(*(boot(board) for board in boards))

    async def _switch_off(self, boards: list[PoweredBoard]) -> None:
        for board in boards:
            await board.switch_off()
        if boards:
            await asyncio.to_thread(processes.kill_all, [board.home for board in boards])


def _allow_many_files() -> None:
    """A listener for each board and three pipes for each command are more than a shell's usual limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    """Return when the daemon is on its way, holding its lock; from then on it answers in `lab.json`."""
    files = LabFiles(Path(sys.argv[1]))
    _allow_many_files()
    with lock(files.daemon) as held:
        detach(held)
        asyncio.run(Daemon(files, held).run())


if __name__ == "__main__":
    main()
