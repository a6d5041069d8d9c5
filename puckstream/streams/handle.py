"""`Stream`: what a start returns, to follow, cancel and await one stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from puckstream.actors.feed import BACKLOG, Position, SubscriberStatistics
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import CURRENT
from puckstream.errors import InvalidOption, StreamCancelled
from puckstream.streams.events import DoneEvent, ErrorEvent, StreamEvent
from puckstream.streams.follower import follow
from puckstream.streams.iteration import when_ended
from puckstream.streams.progress import ProgressReports
from puckstream.streams.shelf import topic
from puckstream.streams.subscription import Subscription

if TYPE_CHECKING:
    from puckstream.streams.desk import Desk
    from puckstream.streams.log import StreamRecord, TerminalEvent
    from puckstream.streams.response import Response
    from puckstream.streams.snapshot import Snapshot
    from puckstream.streams.stream import CancelOutcome

__all__ = ["Stream"]

T = TypeVar("T")


class Stream:
    """A handle on one stream; holding or dropping it does nothing to the stream."""

    __slots__ = ("_desk", "_log", "_record", "id")

    def __init__(self, desk: Desk, record: StreamRecord) -> None:
        self.id = record.id
        self._desk = desk
        self._record = record
        self._log = record.log

    def __repr__(self) -> str:
        return f"<Stream {self.id!r}: {self._log.status}>"

    @property
    def topic(self) -> str:
        """The PubSub topic its events are broadcast on."""
        return topic(self.id)

    @property
    def ended(self) -> bool:
        """Whether its terminal event is there."""
        return self._log.terminal is not None

    @overload
    def subscribe(
        self,
        callback: None = None,
        *,
        after: Position = 0,
        transform: None = None,
        backlog: int = BACKLOG,
    ) -> Subscription[StreamEvent]: ...
    @overload
    def subscribe(
        self,
        callback: None = None,
        *,
        after: Position = 0,
        transform: Callable[[StreamEvent], T | None],
        backlog: int = BACKLOG,
    ) -> Subscription[T]: ...
    @overload
    def subscribe(
        self,
        callback: Callable[[Any], object],
        *,
        after: Position = 0,
        transform: Callable[[StreamEvent], object] | None = None,
        backlog: int = BACKLOG,
        in_thread: bool = False,
    ) -> Reply[ActorRef[Any]]: ...

    def subscribe(
        self,
        callback: Callable[[Any], object] | None = None,
        *,
        after: Position = 0,
        transform: Callable[[StreamEvent], Any] | None = None,
        backlog: int = BACKLOG,
        in_thread: bool = False,
    ) -> Subscription[Any] | Reply[ActorRef[Any]]:
        """Follow the stream: by iterating what this returns, or by ``callback(event)``.

        Args:
            callback: called with one event at a time, in order, the terminal one last, by an actor
                of its own; may be ``async def``. What it raises is logged and ends this
                subscription only.
            after: begin behind this seq (0 is the start), or ``"now"``.
            transform: see `Subscription`.
            backlog: how many events may wait one by one; further behind, adjacent deltas of text
                are joined.
            in_thread: the callback blocks, so it is called in a thread of its own.

        Returns:
            A `Subscription`; with a ``callback`` a reply with the ref of the actor that calls it:
            stop it to leave.

        Raises:
            InvalidOption: if an argument has an impossible value.
            NodeNotRunning: with a ``callback``, if the node has shut down.
        """
        if callback is None:
            if in_thread:
                raise InvalidOption("in_thread", in_thread, "it is for callbacks")
            system = self._desk.system
            return Subscription(system, self._log, after, transform=transform, backlog=backlog)
        return follow(
            self._desk,
            self._log,
            callback,
            after=after,
            transform=transform,
            backlog=backlog,
            in_thread=in_thread,
        )

    def progress(self, interval: float = 0.0) -> ProgressReports:
        """Follow how far the stream has come, by iteration; see `ProgressReports`.

        Raises:
            InvalidOption: if ``interval`` is no number of seconds from 0 up.
        """
        return ProgressReports(self._desk.system, self._log, interval)

    def subscribers(self) -> Reply[tuple[SubscriberStatistics, ...]]:
        """Return who follows the stream and how far each has come; constant time for each."""
        return self._desk.system.perform(self._desk.followers, self._log)

    def cancel(self, *, wait: bool = False) -> Reply[CancelOutcome]:
        """End the stream now, ahead of whatever its actor has queued. Idempotent.

        When the reply comes the terminal event is there, and no event follows it. It concerns
        this run only, not another one of the same id; for whichever runs, see `Desk.cancel`.

        Args:
            wait: have the reply wait until the upstream connection is closed.

        Returns:
            A reply: ``"cancelled"``, ``"already_done"`` or ``"already_cancelled"``.
        """
        desk, record, asker = self._desk, self._record, CURRENT.get()
        return desk.system.perform(lambda: desk.cancel_record(record, "user", asker, wait=wait))

    def snapshot(self) -> Reply[Snapshot]:
        """Return the stream as it stands."""
        desk = self._desk
        return desk.system.perform(lambda: self._log.snapshot(desk.system.clock.now()))

    def wait(self) -> Reply[TerminalEvent]:
        """Return a reply with the terminal event, settled when it is there.

        It can still be had after the node's end.
        """
        return when_ended(self._desk.system, self._log)

    def result(self) -> Reply[Response]:
        """Return a reply with the complete answer, settled at the end.

        Raises (when awaited):
            StreamError: if the stream failed.
            StreamCancelled: if it was cancelled; ``content`` has what had arrived.
        """
        return self.wait().map(_response_of)


def _response_of(event: TerminalEvent) -> Response:
    if isinstance(event, DoneEvent):
        return event.response
    if isinstance(event, ErrorEvent):
        # One exception for all who read: it would keep the frames of each.
        raise event.reason.with_traceback(None)
    raise StreamCancelled(event.reason, event.content)
