"""Many boards asked at once, in threads that hold nobody up."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import TypeVar

Asked = TypeVar("Asked")
Reply = TypeVar("Reply")


def fan_out(boards: Sequence[Asked], reply: Callable[[Asked], Reply], at_once: int) -> Iterator[Reply]:
    """`reply` for every board, in as many threads; what it raises is raised here.

    They are daemons: when the caller gives up, so does the process, without waiting for silent boards; and
    boards whose turn has not come by then are not asked any more.
    """
    waiting = deque(boards)
    replies: SimpleQueue[Reply | BaseException] = SimpleQueue()

    def work() -> None:
        while waiting:
            try:
                board = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                replies.put(reply(board))
            except BaseException as error:  # noqa: BLE001 - raised again where the replies are awaited
                replies.put(error)

    for _ in range(min(len(boards), at_once)):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in boards:
            came = replies.get()
            if isinstance(came, BaseException):
                raise came
            yield came
    finally:
        waiting.clear()
