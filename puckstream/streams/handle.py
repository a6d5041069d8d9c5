"""`Stream`: what a start returns, to follow, cancel and await one stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from puckstream.actors.reply import Reply
from puckstream.errors import NodeNotRunning, StreamCancelled
from puckstream.streams.events import DoneEvent, ErrorEvent
from puckstream.streams.shelf import topic
from puckstream.streams.subscription import Subscription

if TYPE_CHECKING:
    from puckstream.actors.pubsub import Position
    from puckstream.streams.desk import Desk
    from puckstream.streams.log import Log, Snapshot, TerminalEvent
    from puckstream.streams.response import Response
    from puckstream.streams.stream import CancelOutcome

__all__ = ["Stream"]


class Stream:
    """A handle on one stream; holding or dropping it does nothing to the stream."""

    __slots__ = ("_desk", "_log", "id")

    def __init__(self, desk: Desk, log: Log) -> None:
        self.id = log.id
        self._desk = desk
        self._log = log

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

    def subscribe(self, after: Position = 0) -> Subscription:
        """Follow the stream by iteration, from its beginning or from behind seq ``after``.

        Raises:
            InvalidOption: if ``after`` is no position.
        """
        return Subscription(self._desk.system, self._log, after)

    def cancel(self, *, wait: bool = False) -> Reply[CancelOutcome]:
        """End the stream; see `Desk.cancel`."""
        return self._desk.cancel(self.id, wait=wait)

    def snapshot(self) -> Reply[Snapshot]:
        """Return the stream as it stands."""
        desk = self._desk
        return desk.system.perform(lambda: self._log.snapshot(desk.system.clock.now()))

    def wait(self) -> Reply[TerminalEvent]:
        """Return a reply with the terminal event, settled when it is there.

        It can still be had after the node's end.
        """
        ended: Reply[TerminalEvent] = Reply()
        try:
            self._desk.system.run_on_loop(self._log.on_end, ended._resolve)
        except NodeNotRunning:
            # The log changes no more, so that any thread may read it.
            if self._log.terminal is None:
                raise
            ended._resolve(self._log.terminal)
        return ended

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
        raise event.reason
    raise StreamCancelled(event.reason, event.content)
