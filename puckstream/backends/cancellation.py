"""How a cancellation gets into httpx, and how a second one is kept out.

httpx 0.28 and httpcore 1.0 tidy up after a cancellation with code that itself waits. A second
``task.cancel()`` that arrives in that moment breaks off the tidying: the connection stays in the
pool's books for ever, and a pool of ten is exhausted after ten such cancels. So everything that
enters httpx goes through one of these two, which drive it *in the caller's own task*:

* `cancelled_once`: the first cancellation goes in, later ones wait outside until it has ended.
* `to_the_end`: no cancellation goes in at all; one that came is raised when it has ended.

Neither costs a task or a turn of the loop.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

__all__ = ["cancelled_once", "to_the_end"]

T = TypeVar("T")


async def cancelled_once(awaitable: Awaitable[T]) -> T:
    """Await ``awaitable``, which sees the first cancellation and no other.

    After the first cancellation has gone in, the caller returns only when ``awaitable`` has
    ended by itself, however often it is cancelled meanwhile.

    Raises:
        asyncio.CancelledError: if cancelled.
        BaseException: whatever ``awaitable`` raises, if it was not cancelled.
    """
    return await _drive(awaitable.__await__(), deaf=False)


async def to_the_end(awaitable: Awaitable[T]) -> T:
    """Await ``awaitable`` to its end, which no cancellation reaches.

    Raises:
        asyncio.CancelledError: after the end, if the caller was cancelled meanwhile.
        BaseException: whatever ``awaitable`` raises, if the caller was not cancelled.
    """
    return await _drive(awaitable.__await__(), deaf=True)


@types.coroutine
def _drive(inner: Generator[Any, Any, T], *, deaf: bool) -> Generator[Any, Any, T]:
    held: BaseException | None = None
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
            if deaf:
                held = (yield from _sit_out(waiting)) or held
                continue
            try:
                yield waiting
            except GeneratorExit:
                raise
            except asyncio.CancelledError as error:
                thrown, deaf = error, True
            except BaseException as error:  # noqa: BLE001  it goes where it belongs: inside
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
