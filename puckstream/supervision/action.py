"""What the decisions ask of a supervisor actor: frozen values, one class per thing to do.

`Start` and `Stop` need an answer; the others do not. A decision never holds more than one of
the two, and holds it last.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

from puckstream.supervision.child import Backoff, ChildSpec

__all__ = [
    "Action",
    "Actions",
    "Report",
    "ReportKind",
    "Retry",
    "ShutdownCause",
    "ShutdownSelf",
    "Start",
    "Stop",
]

RefT = TypeVar("RefT")
ReasonT = TypeVar("ReasonT")

ReportKind: TypeAlias = Literal[
    "child_terminated",
    "start_error",
    "shutdown_error",
    "reached_max_restart_intensity",
]
"""A child ended, did not start, ended otherwise than asked, or was restarted too often (OTP)."""

ShutdownCause: TypeAlias = Literal[
    "start_failed",
    "restart_intensity",
    "auto_shutdown",
    "escalated",
]
"""Why a supervisor ends: a first start failed, too many restarts, a significant child ended,
or ``classify`` said so."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start the child and wait until its own start is done.

    Answer with ``started``, ``ignored`` or ``failed``.

    Args:
        spec: what to start.
        again: True if the supervisor restarts it, False at a first or requested start.
    """

    spec: ChildSpec
    again: bool = False


@dataclass(frozen=True, slots=True)
class Stop(Generic[RefT]):
    """Stop the child as ``spec.shutdown`` says, and wait until it is down.

    ``"brutal_kill"``: exit with `killed`. Seconds: exit with ``shutdown``, wait, then kill.
    None: exit with ``shutdown`` and wait. Answer with ``stopped`` and the reason it ended with.
    """

    spec: ChildSpec
    ref: RefT


@dataclass(frozen=True, slots=True)
class Retry:
    """Come back with this value for another try, behind the requests that already wait.

    One that has been overtaken by events is recognised and does nothing, so it need not be
    cancelled.

    Args:
        id: the child the try starts from.
        attempt: how many tries in a row came before it.
        backoff: the child's, if it has one.
        token: tells this retry from an earlier one of the same child.
    """

    id: Hashable
    attempt: int
    backoff: Backoff | None
    token: int

    def delay(self, random: float) -> float:
        """Return the seconds to wait first; 0 without back-off. Pure.

        Args:
            random: chance, from 0 to 1, for the jitter.
        """
        return 0.0 if self.backoff is None else self.backoff.delay(self.attempt, random)


@dataclass(frozen=True, slots=True)
class Report(Generic[RefT, ReasonT]):
    """Log this; nothing depends on it.

    Args:
        kind: what there is to report.
        id: the child.
        ref: the actor it was; None if it never ran.
        reason: its exit reason, or why it did not start.
        restarts: how often it had been restarted.
    """

    kind: ReportKind
    id: Hashable
    ref: RefT | None
    reason: ReasonT | None
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class ShutdownSelf(Generic[ReasonT]):
    """End the supervisor: stop what still runs with ``stop_all``, then exit with ``reason``.

    Args:
        why: what made it end.
        id: the child it was about.
        reason: what the supervisor exits with: that child's own reason if ``escalated``, and
            else ``shutdown``, which a parent does not restart a transient supervisor for.
        cause: the child's exit reason, or why it did not start.
    """

    why: ShutdownCause
    id: Hashable
    reason: ReasonT
    cause: ReasonT | None


Action: TypeAlias = Start | Stop[RefT] | Retry | Report[RefT, ReasonT] | ShutdownSelf[ReasonT]
"""One thing to do."""

Actions: TypeAlias = tuple[Action[RefT, ReasonT], ...]
"""What a decision asks for, in the order to do it."""
