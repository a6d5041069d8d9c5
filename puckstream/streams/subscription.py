"""Following a stream by iteration, from a place in its log."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from puckstream.actors._pykka import AskTimeout
from puckstream.actors.feed import BACKLOG, Position
from puckstream.actors.pubsub import check_position
from puckstream.actors.reply import Reply
from puckstream.errors import InvalidOption, NodeNotRunning, StreamCancelled
from puckstream.streams.coalesce import Seam, seam
from puckstream.streams.events import (
    CancelledEvent,
    ChunkEvent,
    ContentEvent,
    DoneEvent,
    ErrorEvent,
    RetryingEvent,
    SkippedEvent,
    StreamEvent,
)
from puckstream.streams.iteration import Iteration, Look, when_ended

if TYPE_CHECKING:
    from puckstream.actors.scheduler import Scheduler
    from puckstream.streams.log import Log

__all__ = ["Subscription"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Subscription(Iteration[T_co]):
    """The events of one stream from a position on, in order, ending with the terminal one.

    Iterate it with ``async for`` on any event loop, or with ``for`` in a thread that runs none.
    Best used as a context manager, though one that is simply dropped holds nothing up either.

    Args:
        after: begin behind this seq (0 is the start), or ``"now"``. Where the stream ends before it
            has come that far, its terminal event is handed out all the same.
        transform: called with every event where it is handed out; what it returns is handed out
            in its place, ``None`` drops it. What it raises goes to who iterates.
        backlog: how many events may wait one by one. Who lags further behind gets adjacent deltas
            of text joined; nothing is lost.

    Raises:
        InvalidOption: if ``after`` is no position, ``backlog`` below 1, or ``transform`` no
            function.
    """

    def __init__(
        self,
        system: Scheduler,
        log: Log,
        after: Position = 0,
        *,
        transform: Callable[[StreamEvent], T_co | None] | None = None,
        backlog: int = BACKLOG,
    ) -> None:
        check_position(after, backlog)
        if transform is not None and not callable(transform):
            raise InvalidOption("transform", transform, "a function of an event")
        super().__init__(system, log)
        self._seq = log.last_seq if after == "now" else after
        self._transform = transform
        self._backlog = backlog
        self._interval = 0.0
        self._chars = 0
        self._handed_at = -math.inf
        # The run of deltas that is held back, and how long it is.
        self._held: Seam | None = None
        self._held_chars = 0

    # -- how it is handed out

    def coalesce(self, interval: float) -> Self:
        """Hand out text at most once in ``interval`` seconds of the node's clock, joined.

        Adjacent deltas of one kind become one event. Nothing is held back by this once something
        else has happened, or the stream has ended. Call it before iterating.

        Returns:
            This subscription.

        Raises:
            InvalidOption: if ``interval`` is no number of seconds above 0.
        """
        given = cast("object", interval)
        if type(given) not in (int, float) or not 0 < interval < math.inf:
            raise InvalidOption("interval", interval, "seconds, more than 0")
        self._interval = float(interval)
        return self

    def buffer(self, chars: int) -> Self:
        """Hand out text in pieces of at least ``chars`` characters.

        What is shorter waits until more comes, something else happens, or the stream ends; with
        `coalesce` as well, no longer than its interval. Call it before iterating.

        Returns:
            This subscription.

        Raises:
            InvalidOption: if ``chars`` is no whole number above 0.
        """
        if type(chars) is not int or chars < 1:
            raise InvalidOption("chars", chars, "a whole number of characters, 1 or more")
        self._chars = chars
        return self

    def text(self) -> Subscription[str]:
        """Return a subscription to the text alone: what to show, piece by piece.

        Structured content comes whole, as JSON, at the end. Pieces cannot be taken back: after a
        retry that voids the text so far, the new answer follows the pieces of the old one.

        Raises (at the end of the iteration):
            StreamError: if the stream failed.
            StreamCancelled: if it was cancelled.

        Raises (at once):
            InvalidOption: if this subscription has a ``transform``.
        """
        if self._transform is not None:
            raise InvalidOption("transform", self._transform, "text() is a transformation itself")
        pieces = _Text()
        text: Subscription[str] = Subscription(
            self._system, self._log, self._seq, transform=pieces, backlog=self._backlog
        )
        try:
            self._system.run_on_loop(pieces.begin, self._log, self._seq)
        except NodeNotRunning:
            pieces.begin(self._log, self._seq)  # the log changes no more
        text._interval, text._chars = self._interval, self._chars
        return text

    # -- all at once

    def collect(self) -> Reply[list[T_co]]:
        """Return a reply with everything that is left to hand out, settled at the stream's end.

        The subscription is over then. It keeps nothing in the meantime but its position. The
        ``transform`` is called on the node's loop, wherever this is called: it must not block.
        Whoever gives up waiting, by a timeout or a cancel, has left the stream until he waits
        again.

        Raises (when awaited):
            Exception: what the ``transform`` raises.
        """
        found = when_ended(self._system, self._log).map(lambda _end: self._all())
        collected: _Collected[list[T_co]] = _Collected()
        collected._came, collected._gone = self._count, self._count_no_more

        def settle() -> None:
            try:
                collected._resolve(found.get())
            except BaseException as error:  # noqa: BLE001  # handed to whoever waits
                collected._reject(error)

        found._when_done(settle)
        return collected

    def _all(self) -> list[T_co]:
        if self._ended:
            return []
        self._read.clear()
        items = [self._hand_out(event) for event in self._log.read(self._place())]
        return [item for item in items if item is not None]

    # -- on the loop

    def _look(self) -> Look:
        log, seq = self._log, self._place()
        lag = log.last_seq - seq
        self._held = None
        if lag <= 0:
            return Look()
        if not self._interval and not self._chars:
            # What a queue of this length would hold, else as much as can be joined.
            if lag <= self._backlog:
                return Look(log.read(seq))
            return Look(log.joined(seq, self._backlog))
        return self._look_at_run()

    def _look_at_run(self) -> Look:
        """Return the next run of deltas, unless it may still grow and its time has not come."""
        log, now = self._log, self._system.clock.now()
        (event,) = log.joined(self._seq, 1)
        common = seam(event.chunk) if isinstance(event, ChunkEvent) else None
        if common is not None and event.seq == log.last_seq and log.terminal is None:
            if self._chars and self._handed_at == -math.inf:
                self._handed_at = now
            chars = len(cast("ChunkEvent", event).chunk.content)
            left = self._handed_at + self._interval - now if self._interval else math.inf
            if left > 0 and not (self._chars and chars >= self._chars):
                self._held, self._held_chars = common, chars
                return Look(pause=None if left == math.inf else left)
        if common is not None:
            self._handed_at = now
        return Look([event])

    def _is_held(self, event: StreamEvent) -> bool:
        if self._held is None or not isinstance(event, ChunkEvent):
            return False
        if seam(event.chunk) != self._held:
            return False
        self._held_chars += len(event.chunk.content)
        return not self._chars or self._held_chars < self._chars

    def _hand_out(self, found: Any) -> T_co | None:
        seq: int = found.seq
        self._coalesced += seq - self._seq - 1
        self._delivered += 1
        self._seq = seq
        if found.terminal:
            self._ended = True
        transform = self._transform
        if transform is None:
            event: T_co = found
            return event
        return transform(found)


class _Collected(Reply[T]):
    """A reply for which the stream goes on, unless all who waited for it have given up."""

    _came: Callable[[], object]
    _gone: Callable[[], object]

    def _when_done(self, waiter: Callable[[], object]) -> None:
        self._came()
        super()._when_done(waiter)

    def _forget(self, waiter: Callable[[], object]) -> None:
        super()._forget(waiter)
        if not self.done and not self._waiters:
            self._gone()

    def get(self, *, timeout: float | None = None) -> T:
        try:
            return super().get(timeout=timeout)
        except AskTimeout:
            if not self.done:
                self._gone()
            raise


class _Text:
    """Turns events into pieces of text, and the end of a stream without an answer into an error."""

    def __init__(self) -> None:
        self._chars = 0

    def begin(self, log: Log, seq: int) -> None:
        """Begin behind ``seq``: what there was before is not handed out."""
        self._chars = log.text_length(seq)

    def __call__(self, event: StreamEvent) -> str | None:
        match event:
            case ContentEvent():
                content = event.chunk.content
                return self._counted(content) if isinstance(content, str) else None
            case SkippedEvent(response):
                if not isinstance(response.content, str):
                    return None
                if event.reset:
                    self._chars = 0
                # What was there before this piece has been handed out already.
                return self._counted(response.content[self._chars :])
            case RetryingEvent(info):
                if info.reset:
                    self._chars = 0
            case DoneEvent(response) if not isinstance(response.content, str):
                return response.text
            case ErrorEvent(reason):
                # Always the same one: it must not collect the tracebacks of all who read it.
                raise reason.with_traceback(None)
            case CancelledEvent(content):
                raise StreamCancelled(event.reason, content)
            case _:
                pass
        return None

    def _counted(self, text: str) -> str | None:
        self._chars += len(text)
        return text or None
