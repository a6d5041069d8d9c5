"""`LogFeed`: a stream's log as PubSub hands it out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from puckstream.streams.events import stream_message

if TYPE_CHECKING:
    from puckstream.streams.log import Log

__all__ = ["LogFeed"]


class LogFeed:
    """A stream's log as numbered ``("puck_stream", id, event)`` messages.

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

    def next(self, number: int, count: int, *, join: bool) -> tuple[Sequence[Any], int]:
        """Return the messages of events behind ``number``, and the seq of the last of them.

        Args:
            number: a seq that is not the last.
            count: how many messages at most.
            join: join adjacent deltas of text.
        """
        log = self._log
        events = log.joined(number, count) if join else log.read(number, count)
        return [stream_message(log.id, event) for event in events], events[-1].seq
