"""What lies in a mailbox, how it may be bounded, and where undelivered messages go."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

from puckstream.actors._pykka import Stop
from puckstream.actors.signals import Down, Exit, ParentExit, TaskDone, TaskFailed
from puckstream.errors import InvalidOption

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.reply import Reply

__all__ = [
    "NOTHING",
    "Bound",
    "Continue",
    "DeadLetter",
    "DeadLetters",
    "Fetch",
    "Policy",
    "Request",
    "SystemRequest",
    "oldest_to_drop",
    "served_when_suspended",
]

Policy = Literal["refuse", "drop_new", "drop_old"]
"""What a full mailbox does: raise `MailboxFull`, drop the newcomer, or drop the oldest."""


class Request:
    """A message whose sender waits for a reply. Tells are stored bare, without an envelope."""

    __slots__ = ("message", "reply")

    def __init__(self, message: Any, reply: Reply[Any]) -> None:
        self.message = message
        self.reply = reply


class SystemRequest(NamedTuple):
    """A question about the actor itself, which the engine answers for it (OTP ``sys``).

    It is plain data, so that it can be asked from another node.
    """

    operation: str
    args: tuple[Any, ...] = ()


class Continue(NamedTuple):
    """What an actor has to do next, ahead of everything that waits (engine only)."""

    message: Any


NOTHING: Final = object()
"""What a `Fetch` brings when there is no message after all."""


class Fetch:
    """A place in a mailbox whose message is fetched when its turn comes (engine only).

    However much there is to come, it is one entry. No bound drops it, and one that is left in the
    mailbox of an actor that ends is no dead letter: nothing was sent.

    Args:
        take: returns the message, or `NOTHING`; called once, on the loop's thread.
    """

    __slots__ = ("take",)

    def __init__(self, take: Callable[[], Any]) -> None:
        self.take = take


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


_NEVER_DROPPED = frozenset(
    {Stop, Exit, Down, ParentExit, TaskDone, TaskFailed, Fetch, SystemRequest}
)
_SERVED_WHEN_SUSPENDED = frozenset({ParentExit, Stop, SystemRequest})


def served_when_suspended(message: Any) -> bool:
    """Whether an actor that is suspended takes up ``message`` all the same."""
    kind = type(message)
    if kind is Request:
        kind = type(message.message)
    return kind in _SERVED_WHEN_SUSPENDED


def oldest_to_drop(box: deque[Any]) -> int | None:
    """Return the index of the oldest message that may be dropped from a full mailbox, if any.

    Stop and system requests, exit signals and the messages of monitors and tasks stay: an actor
    that lost one would never stop, or wait for ever.
    """
    for index, message in enumerate(box):
        inner = message.message if type(message) is Request else message
        if type(inner) not in _NEVER_DROPPED:
            return index
    return None
