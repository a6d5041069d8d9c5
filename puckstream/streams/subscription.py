"""Following a stream: from a place in its log, by iteration, on any loop or thread.

An iterating subscriber keeps a position in the log and nothing else, so it can be as slow as it
likes: it costs no memory and delays nobody.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from puckstream.actors.pubsub import Position
from puckstream.actors.reply import Reply
from puckstream.errors import InvalidOption, NodeNotRunning
from puckstream.streams.events import StreamEvent, stream_message

if TYPE_CHECKING:
    from puckstream.actors.scheduler import Scheduler
    from puckstream.streams.log import Log

__all__ = ["LogFeed", "Subscription"]


class LogFeed:
    """A stream's log as PubSub hands it out: numbered ``("puck_stream", id, event)`` messages.

    PubSub knows a feed by its identity: whoever subscribes to one log must be given one feed.
    """

    __slots__ = ("__weakref__", "_log")

    def __init__(self, log: Log) -> None:
        self._log = log

    @property
    def last(self) -> int:
        """The seq of the newest event."""
        return self._log.last_seq

    @property
    def ended(self) -> bool:
        """Whether the terminal event is there."""
        return self._log.terminal is not None

    def after(self, number: int) -> Sequence[Any]:
        """Return the messages of the events behind ``number``."""
        log = self._log
        stream_id = log.id
        return [stream_message(stream_id, event) for event in log.read(number)]


class Subscription:
    """The events of one stream from a position on, in order, ending with the terminal one.

    Iterate it with ``async for`` on any event loop, or with ``for`` in a thread that runs none.
    Best used as a context manager, though one that is simply dropped holds nothing up either.

    Args:
        after: begin behind this seq (0 is the start), or ``"now"``.

    Raises:
        InvalidOption: if ``after`` is no position.
    """

    def __init__(self, system: Scheduler, log: Log, after: Position = 0) -> None:
        if after != "now" and (type(after) is not int or after < 0):
            raise InvalidOption("after", after, "a seq ≥ 0, or 'now'")
        self._system = system
        self._log = log
        self._after = log.last_seq if after == "now" else after
        self._read: deque[StreamEvent] = deque()
        self._ended = False
        self._forget: Callable[[], None] | None = None

    @property
    def seq(self) -> int:
        """The seq of the last event handed out; follow on from here with ``after=``."""
        return self._after

    # -- asynchronous

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        if not self._read:
            if self._ended:
                raise StopAsyncIteration
            self._read.extend(await self._ask())
            if not self._read:
                raise StopAsyncIteration
        return self._take()

    # -- blocking

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[StreamEvent]:
        while True:
            if not self._read:
                if self._ended:
                    return
                self._read.extend(self._ask().get())
                if not self._read:
                    return
            yield self._take()

    def close(self) -> None:
        """Leave. The stream goes on; what has not been handed out yet is not any more."""
        self._ended = True
        self._read.clear()
        if self._forget is not None:
            with contextlib.suppress(NodeNotRunning):  # nobody is left to wait for anything
                self._system.run_on_loop(self._forget)

    def _take(self) -> StreamEvent:
        event = self._read.popleft()
        self._after = event.seq
        if event.terminal:
            self._ended = True
        return event

    def _ask(self) -> Reply[list[StreamEvent]]:
        try:
            return self._system.perform(self._next)
        except NodeNotRunning:
            # The node has shut down: the log has ended, and any thread may read it now.
            rest: Reply[list[StreamEvent]] = Reply()
            rest._resolve(self._log.read(self._after))
            return rest

    def _next(self) -> Reply[list[StreamEvent]] | list[StreamEvent]:
        """Return what is behind the position, or a reply that waits for more; on the loop."""
        log = self._log
        events = log.read(self._after)
        if events or log.terminal is not None:
            return events
        reply: Reply[list[StreamEvent]] = Reply()

        def appended(_event: StreamEvent) -> None:
            forget()
            reply._resolve(log.read(self._after))

        forget = log.on_append(appended)

        def leave() -> None:
            forget()
            reply._resolve([])

        self._forget = leave
        return reply
