"""`History`: the turns of a conversation, and everything that was told about them.

It only grows: turns are added, and what replaces them says so. It is a PubSub feed, so that
subscribers get every event once, in order, whenever they join and whoever crashes in between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from puckstream.streams.context import Context
from puckstream.streams.turns import ClosedEvent, ConversationEvent, CutEvent, TurnEvent

if TYPE_CHECKING:
    from weakref import WeakSet

    from puckstream.backends.base import Message

__all__ = ["History", "conversation_message"]

logger = logging.getLogger("puckstream.streams")

E = TypeVar("E", bound=ConversationEvent)


class History:
    """The turns and the events of one conversation. Belongs to the loop's thread.

    Args:
        conversation_id: whose.
        context: the turns there are already.

    Attributes:
        id: the conversation's id.
        context: the turns as they stand.
        terminal: the last event, if the conversation is closed.
        audience: always ``None``: nobody's leaving ends a conversation.
        followers: those who iterate.
    """

    audience: None = None

    def __init__(self, conversation_id: str, context: Context) -> None:
        self.id = conversation_id
        self.context = context
        self.terminal: ClosedEvent | None = None
        self.followers: WeakSet[Any] | None = None
        self._events: list[ConversationEvent] = []
        self._keys = 0
        self._listeners: dict[int, Callable[[Any], object]] = {}

    # -- the feed

    @property
    def last(self) -> int:
        """The seq of the newest event."""
        return len(self._events)

    last_seq = last

    @property
    def ended(self) -> bool:
        """Whether the conversation is closed."""
        return self.terminal is not None

    def after(self, number: int) -> Sequence[Any]:
        """Return the messages of the events behind ``number``."""
        return [conversation_message(self.id, event) for event in self.read(number)]

    def next(self, number: int, count: int, *, join: bool) -> tuple[Sequence[Any], int]:
        """Return the messages of events behind ``number``, and the seq of the last of them.

        Args:
            number: a seq that is not the last.
            count: how many messages at most; none if nothing but a former end is left.
            join: means nothing here: every event counts.
        """
        del join
        events = self.read(number)
        if len(events) <= count:
            return self.after(number), self.last
        events = events[:count]
        return [conversation_message(self.id, event) for event in events], events[-1].seq

    def read(self, after: int) -> list[ConversationEvent]:
        """Return the events behind ``after``, without the ends it was reopened after."""
        end = self.terminal
        return [event for event in self._events[after:] if event is end or not event.terminal]

    # -- growing

    def append(self, make_event: Callable[[int], E]) -> E:
        """Append the event ``make_event(seq)``, and tell the listeners."""
        event = make_event(len(self._events) + 1)
        self._events.append(event)
        if isinstance(event, ClosedEvent):
            self.terminal = event
        for listener in tuple(self._listeners.values()):
            try:
                listener(event)
            except Exception:
                logger.exception("a listener of conversation %r failed", self.id)
        return event

    def put(self, n: int, messages: Sequence[Message]) -> None:
        """Have ``messages`` be the turns from ``n`` on.

        Those that stay the same are not told again, but for the last. At every event the context
        is what the events up to it amount to.
        """
        kept, before = n, list(self.context)
        new = list(messages)
        while len(new) > 1 and kept < len(before) and dict(before[kept]) == dict(new[0]):
            kept += 1
            del new[0]
        if kept < len(before):
            self.context = Context(before[:kept])
            self.append(partial(_cut, kept))
        for number, message in enumerate(new, kept):
            self.context = self.context.append(message)
            self.append(partial(_turn, number, self.context[number]))

    def reopen(self) -> None:
        """Go on after ``closed``, which keeps its number and is not told any more."""
        self.terminal = None

    def on_append(self, listener: Callable[[Any], object]) -> Callable[[], None]:
        """Call ``listener(event)`` for every event from now on.

        Returns:
            A function that takes it back; calling it again does nothing.
        """
        self._keys += 1
        key = self._keys
        self._listeners[key] = listener
        return lambda: _discard(self._listeners, key)


def conversation_message(conversation_id: str, event: ConversationEvent) -> tuple[Any, ...]:
    """Return what subscriber actors receive: ``("puck_conversation", conversation_id, event)``."""
    return ("puck_conversation", conversation_id, event)


def _cut(n: int, seq: int) -> CutEvent:
    return CutEvent(n, seq=seq)


def _turn(n: int, message: Message, seq: int) -> TurnEvent:
    return TurnEvent(n, message, seq=seq)


def _discard(table: dict[int, Any], key: int) -> None:
    table.pop(key, None)
