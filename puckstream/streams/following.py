"""`Following`: a conversation by iteration, on any loop or thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from puckstream.errors import InvalidOption
from puckstream.streams.iteration import Iteration, Look
from puckstream.streams.turns import ConversationEvent, SnapshotEvent

if TYPE_CHECKING:
    from puckstream.actors.feed import Position
    from puckstream.actors.scheduler import Scheduler
    from puckstream.streams.conversation_table import Table
    from puckstream.streams.log import Log

__all__ = ["Following", "check_position"]


class Following(Iteration[ConversationEvent]):
    """The events of a conversation, in order, ending with ``closed``.

    Args:
        after: begin behind this seq, or ``"now"``; ``None`` begins with a snapshot.
    """

    def __init__(self, system: Scheduler, table: Table, after: Position | None) -> None:
        # A history is to an iteration what a log is: numbered, told as it grows, with an end.
        super().__init__(system, cast("Log", table.history))
        self._table = table
        self._snapshot_first = after is None
        if after is not None:
            self._seq = table.history.last_seq if after == "now" else after

    def _look(self) -> Look:
        history = self._table.history
        if self._snapshot_first:
            return Look([SnapshotEvent(self._table.snapshot(), seq=history.last_seq)])
        return Look(history.read(self._place()))

    def _hand_out(self, found: Any) -> ConversationEvent:
        event = cast("ConversationEvent", found)
        # Not before: a step that is cancelled may have looked without handing anything out.
        self._snapshot_first = False
        self._seq = event.seq
        self._delivered += 1
        if event.terminal:
            self._ended = True
        return event


def check_position(after: object) -> None:
    """Refuse what is no place in a conversation.

    Raises:
        InvalidOption: if ``after`` is neither a number ≥ 0 nor ``"now"`` nor ``None``.
    """
    if after not in (None, "now") and (type(after) is not int or after < 0):
        raise InvalidOption("after", after, "a seq ≥ 0, 'now', or None for a snapshot")
