"""What lies in a mailbox, how it may be bounded, and where undelivered messages go."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from puckstream.actors._pykka import Stop
from puckstream.actors.signals import Down, Exit, ParentExit, TaskDone, TaskFailed
from puckstream.errors import InvalidOption

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.reply import Reply

__all__ = ["Bound", "DeadLetter", "DeadLetters", "Policy", "Request", "oldest_to_drop"]

Policy = Literal["refuse", "drop_new", "drop_old"]
"""What a full mailbox does: raise `MailboxFull`, drop the newcomer, or drop the oldest."""


class Request:
    """A message whose sender waits for a reply. Tells are stored bare, without an envelope."""

    __slots__ = ("message", "reply")

    def __init__(self, message: Any, reply: Reply[Any]) -> None:
        self.message = message
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Bound:
    """The most messages an actor's mailbox holds, and what happens to one more.

    Set as the class attribute ``mailbox`` of an actor. Control messages, stop requests, exit
    signals and monitors' messages are never refused.

    Args:
        capacity: messages that may wait, at least 1.
        policy: see `Policy`. Dropped messages become dead letters; a dropped request fails with
            `MailboxFull`.

    Raises:
        InvalidOption: for any other value.
    """

    capacity: int
    policy: Policy = "refuse"

    def __post_init__(self) -> None:
        if type(self.capacity) is not int or self.capacity < 1:
            raise InvalidOption("capacity", self.capacity, "a mailbox holds a whole number ≥ 1")
        if self.policy not in get_args(Policy):
            raise InvalidOption("policy", self.policy, f"one of {', '.join(get_args(Policy))}")


class DeadLetter(NamedTuple):
    """A message nobody handled, and why."""

    ref: ActorRef[Any]
    message: Any
    why: str


class DeadLetters:
    """The last undelivered messages of a node, and how many there were."""

    def __init__(self, keep: int = 100) -> None:
        self._guard = threading.RLock()  # the threads of actors add to it, too
        self.count = 0
        self.recent: deque[DeadLetter] = deque(maxlen=keep)

    def add(self, ref: ActorRef[Any], message: Any, why: str) -> None:
        """Note that ``message`` did not reach ``ref``."""
        with self._guard:
            self.count += 1
            self.recent.append(DeadLetter(ref, message, why))


_NEVER_DROPPED = frozenset({Stop, Exit, Down, ParentExit, TaskDone, TaskFailed})


def oldest_to_drop(box: deque[Any]) -> int | None:
    """Return the index of the oldest message that may be dropped from a full mailbox, if any.

    Stop requests, exit signals and the messages of monitors and tasks stay: an actor that lost
    one would never stop, or wait for ever.
    """
    for index, message in enumerate(box):
        inner = message.message if type(message) is Request else message
        if type(inner) not in _NEVER_DROPPED:
            return index
    return None
