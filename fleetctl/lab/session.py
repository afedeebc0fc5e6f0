"""One command on a virtual board: a real child process wired to one ssh channel, as sshd would.

What is easily got wrong, and is not here: the child is given all of standard input and its end before anybody
waits for it to exit; all that it wrote reaches the client before its exit status does; a channel that closes
takes the command with it, but not what the command detached into a session of its own.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    import asyncssh

_CHUNK = 1 << 16
_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
_HANGUP_PATIENCE = 1.0  # seconds between the hang-up and the kill


class _Sink(Protocol):
    """Where bytes go: an asyncio or an asyncssh stream."""

    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...


class Surroundings(Struct, frozen=True):
    """Where commands of a board run."""

    home: Path
    environment: Mapping[str, str]


async def serve(channel: "asyncssh.SSHServerProcess[bytes]", around: Surroundings) -> None:
    """Run what the client asked for until it ends or the client is gone, and report how it ended."""
    import asyncssh

    run = _run_on_terminal if channel.term_type else _run_on_pipes
    with contextlib.suppress(OSError, asyncssh.Error):  # the client went away in the midst of it
        code = await run(channel, _argv(channel.command), around)
        if not channel.channel.is_closing():
            _report(channel, code)


def _argv(command: str | None) -> list[str]:
    return ["/bin/sh", "-c", command] if command is not None else ["/bin/sh", "-i"]


def _report(channel: "asyncssh.SSHServerProcess[bytes]", code: int) -> None:
    if code >= 0:
        channel.exit(code)
    else:
        channel.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))


async def _run_on_pipes(
    channel: "asyncssh.SSHServerProcess[bytes]", argv: list[str], around: Surroundings
) -> int:
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *argv,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        cwd=around.home,
        env=around.environment,
        start_new_session=True,
    )
    assert child.stdin and child.stdout and child.stderr
    feeding = asyncio.create_task(_feed(channel, child.stdin, child.pid))
    output = asyncio.gather(_pass_on(child.stdout, channel.stdout), _pass_on(child.stderr, channel.stderr))
    try:
        return await _until_over(channel, child, output)
    finally:
        await _cancel(feeding)


async def _run_on_terminal(
    channel: "asyncssh.SSHServerProcess[bytes]", argv: list[str], around: Surroundings
) -> int:
    ours, theirs = os.openpty()
    _resize(ours, channel.term_size[:2])
    try:
        child = await asyncio.create_subprocess_exec(
            *_take_terminal(argv),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=around.home,
            env={**around.environment, "TERM": channel.term_type or "dumb"},
            start_new_session=True,
        )
        reader, writer = await _open_terminal(ours)
    finally:
        os.close(theirs)
    feeding = asyncio.create_task(_feed(channel, writer, child.pid, terminal=ours))
    try:
        return await _until_over(channel, child, asyncio.ensure_future(_pass_on(reader, channel.stdout)))
    finally:
        await _cancel(feeding)
        writer.close()


def _take_terminal(argv: list[str]) -> list[str]:
    """The command on a controlling terminal (standard input), which only the new process can arrange."""
    return [sys.executable, "-I", "-S", "-c", _TAKE_TERMINAL, *argv]


async def _open_terminal(handle: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams on our side of a terminal; closing the writer closes `handle`."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    reading = asyncio.StreamReaderProtocol(reader)
    await loop.connect_read_pipe(lambda: reading, os.fdopen(os.dup(handle), "rb", buffering=0))
    transport, writing = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(handle, "wb", buffering=0)
    )
    return reader, asyncio.StreamWriter(transport, writing, None, loop)


async def _until_over(
    channel: "asyncssh.SSHServerProcess[bytes]",
    child: asyncio.subprocess.Process,
    output: "asyncio.Future[Any]",
) -> int:
    """The child's exit code, once its output is delivered; if the channel closes first, the child is killed.

    Like sshd, this waits for whoever holds the output open: what detaches must let go of it.
    """
    gone: asyncio.Future[Any] = asyncio.create_task(channel.channel.wait_closed())
    over: asyncio.Future[Any] = asyncio.gather(child.wait(), output)
    try:
        await asyncio.wait([gone, over], return_when=asyncio.FIRST_COMPLETED)
        if over.done() and not over.exception():
            return await child.wait()
        await _hang_up(child)
        return await child.wait()
    finally:
        await _cancel(gone)
        await _cancel(over)


async def _hang_up(child: asyncio.subprocess.Process) -> None:
    """End the command's process group, politely for a moment."""
    for step in (signal.SIGHUP, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, step)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(child.wait(), _HANGUP_PATIENCE)
            return


async def _pass_on(source: asyncio.StreamReader, sink: _Sink) -> None:
    """Copy to the end; a terminal whose other side is closed ends with an error instead."""
    while chunk := await _read(source):
        sink.write(chunk)
        await sink.drain()


async def _read(source: asyncio.StreamReader) -> bytes:
    try:
        return await source.read(_CHUNK)
    except OSError:
        return b""


async def _feed(
    channel: "asyncssh.SSHServerProcess[bytes]",
    sink: asyncio.StreamWriter,
    pid: int,
    *,
    terminal: int | None = None,
) -> None:
    """Give the child all that the client sends, and then the end of it; pass signals and sizes on, too."""
    import asyncssh

    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the child does not read any more
        while True:
            try:
                chunk = await channel.stdin.read(_CHUNK)
            except asyncssh.SignalReceived as received:
                _deliver(pid, received.signal)
                continue
            except asyncssh.TerminalSizeChanged as size:
                _resize(terminal, (size.width, size.height))
                continue
            except asyncssh.BreakReceived:
                continue
            if not chunk:
                break
            sink.write(chunk)
            await sink.drain()
    if terminal is None:
        sink.close()


def _deliver(pid: int, name: str) -> None:
    number = getattr(signal, f"SIG{name}", None)
    if isinstance(number, signal.Signals):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)


def _resize(terminal: int | None, size: tuple[int, int]) -> None:
    if terminal is not None and all(size):
        import termios

        width, height = size
        termios.tcsetwinsize(terminal, (height, width))


async def _cancel(task: "asyncio.Future[Any]") -> None:
    """End a task that nobody needs any more; what it might still have said does not matter."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
