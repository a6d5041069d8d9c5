"""`Handler`: code of the application that runs beside a stream and cannot disturb it.

A handler is called by an actor of its own, which is subscribed to the stream like any other. So
it is called after the broadcast of the same event, with one event at a time, in order; while it
is busy its actor's mailbox holds what waits. Nobody waits for it: neither the stream, nor its
subscribers, nor the end of either.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from puckstream.actors.actor import Actor
from puckstream.actors.state import EXITING
from puckstream.streams.events import (
    CancelledEvent,
    ChunkEvent,
    DoneEvent,
    ErrorEvent,
    RetryInfo,
    RetryingEvent,
    SkippedEvent,
    StartedEvent,
    StartInfo,
)

if TYPE_CHECKING:
    from puckstream.backends.base import Chunk
    from puckstream.clock import Timer
    from puckstream.streams.threads import Threads

__all__ = ["Handler", "HandlerActor"]

logger = logging.getLogger("puckstream.streams")


class Handler:
    """What is called as a stream goes on; subclass it, and pass it as ``handler=``.

    A method may be plain, and is then called in a thread and may block; or ``async def``, and is
    then awaited on the node's loop. One object may serve many streams: what belongs to one of
    them is its *state*, which ``on_start`` makes and ``on_chunk`` hands on.

    Whatever a method raises is logged, the first time of each method with its traceback, and
    disturbs nothing; the state stays what it was, and the next event comes as if nothing had
    happened. One that does not return within `timeout` seconds is given up, and with it the
    handler, for this stream: a thread cannot be stopped, so it would be called twice at once.
    """

    timeout: float | None = 30.0
    """The longest a call may take, in seconds on the node's clock; ``None`` is without limit."""

    def on_start(self, stream_id: str, info: StartInfo) -> Any:
        """Return the state of a stream that starts; called once, retries or not."""

    def on_chunk(self, chunk: Chunk, state: Any) -> Any:
        """Return the state after ``chunk``."""
        del chunk
        return state

    def on_retry(self, info: RetryInfo, state: Any) -> Any:
        """Return the state for another attempt; with ``info.reset`` the text so far is void."""
        del info
        return state

    def on_skip(self, event: SkippedEvent, state: Any) -> Any:
        """Return the state after events no longer kept: ``event.response`` is what they came to.

        Called when the handler has been slower than the log is long.
        """
        del event
        return state

    def on_done(self, event: DoneEvent, state: Any) -> Any:
        """Take note of the end: ``event.response``, ``event.context``."""

    def on_error(self, event: ErrorEvent, state: Any) -> Any:
        """Take note of a failure: ``event.reason``, and what had arrived: ``event.content``."""

    def on_cancel(self, event: CancelledEvent, state: Any) -> Any:
        """Take note of a cancel: ``event.reason``, ``event.by``, ``event.content``."""


class HandlerActor(Actor):
    """Calls one `Handler` for one stream, and ends with it.

    Args:
        stream_id: the stream's id.
        handler: what to call.
        threads: where plain methods run.
        failed: told of the method and its exception, if anybody measures.
    """

    def __init__(
        self,
        stream_id: str,
        handler: Handler,
        threads: Threads,
        failed: Callable[[str, BaseException], object] | None = None,
    ) -> None:
        super().__init__()
        self._stream_id = stream_id
        self._handler = handler
        self._threads = threads
        self._failed = failed
        self._state: Any = None
        self._started = False
        self._failures: Counter[str] = Counter()

    def on_receive(self, message: Any) -> Any:
        """Call the method of the event, if the handler has one of its own."""
        match message:
            case ("puck_stream", self._stream_id, event):
                return self._handle(event)
            case _:
                return None  # what its own streams tell, if it has started any

    def _handle(self, event: Any) -> Any:
        if isinstance(event, ChunkEvent):
            return self._call("on_chunk", event.chunk, self._state)
        if event.terminal:
            return self._end(event)
        if isinstance(event, RetryingEvent):
            return self._call("on_retry", event.info, self._state)
        if isinstance(event, SkippedEvent):
            return self._call("on_skip", event, self._state)
        if isinstance(event, StartedEvent) and not self._started:
            self._started = True
            return self._call("on_start", self._stream_id, event.info)
        return None

    async def _end(self, event: DoneEvent | ErrorEvent | CancelledEvent) -> None:
        method = {"done": "on_done", "error": "on_error", "cancelled": "on_cancel"}[event.kind]
        calling = self._call(method, event, self._state)
        if calling is not None:
            await calling
        again = {name: count - 1 for name, count in self._failures.items() if count > 1}
        if again:
            logger.error("the handler of stream %r failed again: %s", self._stream_id, again)
        self.finish()

    def _call(self, name: str, *args: Any) -> Any:
        """Return the coroutine that calls a method; ``None`` if it is not the handler's own."""
        if getattr(type(self._handler), name) is getattr(Handler, name):
            return None
        return self._called(name, getattr(self._handler, name), args)

    async def _called(self, name: str, method: Callable[..., Any], args: tuple[Any, ...]) -> None:
        timer = self._watch(name)
        try:
            if inspect.iscoroutinefunction(method):
                result = await method(*args)
            else:
                result = await self._in_thread(method, args)
                if inspect.isawaitable(result):
                    result = await result
            if not name.startswith(("on_done", "on_error", "on_cancel")):
                self._state = result
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and self.actor_ref._state >= EXITING:
                raise  # this actor's own end, not the handler's doing
            self._report(name, error)
            if isinstance(error, KeyboardInterrupt) and _on_main_thread():
                raise
        finally:
            if timer is not None:
                timer.cancel()

    async def _in_thread(self, method: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        running = self._threads.run(method, *args)
        try:
            result, error = await asyncio.shield(running)
        except asyncio.CancelledError:
            self._threads.leave(running, self.actor_ref)
            raise
        if error is not None:
            raise error
        return result

    def _watch(self, name: str) -> Timer | None:
        limit = self._handler.timeout
        if limit is None:
            return None
        return self.actor_ref._system.clock.call_later(limit, self._give_up, name)

    def _give_up(self, name: str) -> None:
        logger.error(
            "the handler of stream %r is given up: its %s has not returned within %g seconds",
            self._stream_id,
            name,
            self._handler.timeout,
        )
        if self._failed is not None:
            self._failed(name, TimeoutError(f"no return within {self._handler.timeout} seconds"))
        self.actor_ref.kill()

    def _report(self, name: str, error: BaseException) -> None:
        self._failures[name] += 1
        if self._failed is not None:
            self._failed(name, error)
        if self._failures[name] == 1:
            logger.error(
                "the handler of stream %r failed in its %s", self._stream_id, name, exc_info=error
            )


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
