"""Exit reasons, and the messages by which one actor learns of another's end.

The taxonomy is OTP's: *normal*, *shutdown* and *shutdown with a detail* are expected ends, which
nobody logs and a transient child is not restarted for; everything else is a failure.
``docs/otp.md`` maps the terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef

__all__ = [
    "KILL",
    "KILLED",
    "NORMAL",
    "NOT_CONNECTED",
    "NO_ACTOR",
    "SHUTDOWN",
    "Crash",
    "Custom",
    "Down",
    "Exit",
    "ExitReason",
    "Kill",
    "Killed",
    "NoActor",
    "Normal",
    "NotConnected",
    "Shutdown",
    "TaskDone",
    "TaskFailed",
    "TimedOut",
    "text_of",
]


class ExitReason:
    """Why an actor ended. Compare by value: ``reason == NORMAL``."""

    __slots__ = ()

    @property
    def normal(self) -> bool:
        """Whether the actor simply finished."""
        return False

    @property
    def expected(self) -> bool:
        """Whether nobody needs to be alarmed: normal, or a shutdown (OTP's expected reasons)."""
        return False

    @staticmethod
    def of(value: object) -> ExitReason:
        """Turn what a caller wrote into a reason.

        Args:
            value: a reason; one of the strings ``"normal"``, ``"shutdown"``, ``"kill"``; an
                exception (a crash); or any other value, which is kept as `Custom`.
        """
        if isinstance(value, ExitReason):
            return value
        if isinstance(value, BaseException):
            return Crash(value)
        match value:
            case "normal":
                return NORMAL
            case "shutdown":
                return SHUTDOWN
            case "kill":
                return KILL
            case _:
                return Custom(value)


@dataclass(frozen=True, slots=True)
class Normal(ExitReason):
    """The actor finished its work."""

    @property
    def normal(self) -> bool:
        """Always true."""
        return True

    @property
    def expected(self) -> bool:
        """Always true."""
        return True

    def __str__(self) -> str:
        return "normal"


@dataclass(frozen=True, slots=True)
class Shutdown(ExitReason):
    """The actor was asked to go, by its supervisor or by anyone else; ``detail`` may say why."""

    detail: Any = None

    @property
    def expected(self) -> bool:
        """Always true."""
        return True

    def __str__(self) -> str:
        return "shutdown" if self.detail is None else f"shutdown ({self.detail})"


@dataclass(frozen=True, slots=True)
class Kill(ExitReason):
    """The signal that cannot be trapped; the actor it ends is `Killed`."""

    def __str__(self) -> str:
        return "kill"


@dataclass(frozen=True, slots=True)
class Killed(ExitReason):
    """The actor was ended by `Kill`."""

    def __str__(self) -> str:
        return "killed"


@dataclass(frozen=True, slots=True)
class NoActor(ExitReason):
    """There was no such actor, or it was dead already (OTP ``noproc``)."""

    def __str__(self) -> str:
        return "no such actor"


@dataclass(frozen=True, slots=True)
class NotConnected(ExitReason):
    """The actor's node cannot be reached (OTP ``noconnection``)."""

    def __str__(self) -> str:
        return "no connection"


@dataclass(frozen=True, slots=True)
class TimedOut(ExitReason):
    """The actor had not started after ``seconds``; it was killed (OTP start ``timeout``)."""

    seconds: float

    def __str__(self) -> str:
        return f"not started within {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Crash(ExitReason):
    """A hook or handler raised ``error``."""

    error: BaseException

    def __str__(self) -> str:
        return f"crash: {type(self.error).__name__}: {text_of(self.error)}"


@dataclass(frozen=True, slots=True)
class Custom(ExitReason):
    """Any other reason, given by the caller of `exit`."""

    value: Any

    def __str__(self) -> str:
        return text_of(self.value)


def text_of(value: object) -> str:
    """Return ``str(value)``, or that it cannot be had: the reason of an end must not fail."""
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001  # a class of the user's may raise anything
        return f"<{type(value).__name__}, whose text raises {type(error).__name__}>"


NORMAL = Normal()
SHUTDOWN = Shutdown()
KILL = Kill()
KILLED = Killed()
NO_ACTOR = NoActor()
NOT_CONNECTED = NotConnected()


class Exit(NamedTuple):
    """The exit signal of a linked actor, as a message to one that traps exits."""

    ref: ActorRef[Any] | None
    reason: ExitReason


class Down(NamedTuple):
    """A monitored actor has ended; delivered exactly once per monitor.

    It comes after every message that the actor sent to the watcher.
    """

    monitor: int
    ref: ActorRef[Any]
    reason: ExitReason


class TaskDone(NamedTuple):
    """A task the actor owns returned ``result``."""

    name: str
    result: Any


class TaskFailed(NamedTuple):
    """A task the actor owns raised ``error``; a ``CancelledError`` if it was cancelled."""

    name: str
    error: BaseException


class ParentExit(NamedTuple):
    """The parent's exit signal on its way to an actor that traps exits (engine only)."""

    reason: ExitReason


class Finish(NamedTuple):
    """An actor's own wish to end with ``reason``, its ``on_stop`` run (engine only)."""

    reason: ExitReason
