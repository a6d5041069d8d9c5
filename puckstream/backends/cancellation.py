"""Where a cancellation gets into httpx: only at a door.

httpx 0.28 and httpcore 1.0 close a response with code that itself waits. A ``task.cancel()`` that
arrives in that moment, a second one or an unlucky first, breaks it off: the connection stays in
the pool's books for ever, and a pool of ten is exhausted after ten such cancels. But all that is
worth interrupting is a wait for the network, and the network is ours. So such a wait is a `Door`,
and everything that enters httpx goes through one of these two, which drive it *in the caller's
own task*, without another task and without a turn of the loop:

* `through_doors`: a cancellation gets in at a door; elsewhere it waits for the next one.
* `to_the_end`: none gets in at all; one that came is raised when the work has ended.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

__all__ = ["Door", "through_doors", "to_the_end"]

T = TypeVar("T")


class Door(asyncio.Future[None]):
    """A wait that a cancellation may interrupt."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(loop=asyncio.get_running_loop())

    def open(self) -> None:
        """Let the waiting code go on."""
        if not self.done():
            self.set_result(None)


async def through_doors(awaitable: Awaitable[T]) -> T:
    """Await ``awaitable``, which can be cancelled at its doors and nowhere else.

    It returns only when ``awaitable`` has ended by itself, however often the caller is cancelled
    meanwhile.

    Raises:
        asyncio.CancelledError: if cancelled, even if ``awaitable`` came to its end.
        BaseException: whatever ``awaitable`` raises, if the caller was not cancelled.
    """
    return await _drive(awaitable.__await__(), doors=True)


async def to_the_end(awaitable: Awaitable[T]) -> T:
    """Await ``awaitable`` to its end, which no cancellation reaches.

    Raises:
        asyncio.CancelledError: after the end, if the caller was cancelled meanwhile.
        BaseException: whatever ``awaitable`` raises, if the caller was not cancelled.
    """
    return await _drive(awaitable.__await__(), doors=False)


@types.coroutine
def _drive(inner: Generator[Any, Any, T], *, doors: bool) -> Generator[Any, Any, T]:
    held: asyncio.CancelledError | None = None
    thrown: BaseException | None = None
    try:
        while True:
            try:
                waiting = inner.send(None) if thrown is None else inner.throw(thrown)
            except StopIteration as end:
                result: T = end.value
                break
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                if held is None:
                    raise
                raise held from error
            thrown = None
            if not (doors and isinstance(waiting, Door)):
                held = (yield from _sit_out(waiting)) or held
            elif held is not None:
                thrown, held = held, None
            else:
                try:
                    yield waiting
                except asyncio.CancelledError as error:
                    thrown = error
    except GeneratorExit:
        inner.close()
        raise
    if held is not None:
        raise held
    return result


def _sit_out(
    waiting: asyncio.Future[Any] | None,
) -> Generator[Any, Any, asyncio.CancelledError | None]:
    """Wait for what the driven code waits for; return a cancellation that came meanwhile."""
    held: asyncio.CancelledError | None = None
    if waiting is None:  # asyncio.sleep(0)
        try:
            yield None
        except asyncio.CancelledError as error:
            held = error
        return held
    # The task would cancel the future it is waiting for, so it is shown a shield instead.
    while not waiting.done():
        try:
            yield from asyncio.shield(waiting).__await__()
        except asyncio.CancelledError as error:
            if not waiting.cancelled():
                held = error
        except Exception:  # noqa: BLE001  the driven code gets it from the future itself
            break
    return held
