"""The rules of supervision as pure functions of a child's spec and its exit reason.

They are Erlang/OTP's `supervisor` and Elixir's `DynamicSupervisor`; `children` applies them to
the ordered children of a static supervisor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias, TypeVar

from puckstream.errors import InvalidSpec
from puckstream.supervision.child import ChildSpec, Restart

__all__ = [
    "Classify",
    "Reason",
    "Verdict",
    "is_shutdown_error",
    "is_worth_reporting",
    "on_dynamic_exit",
    "verdict_on",
]


class Reason(Protocol):
    """What the rules need to know of an exit reason; two equal ones must compare equal."""

    @property
    def normal(self) -> bool:
        """True for ``normal``."""
        ...

    @property
    def expected(self) -> bool:
        """True for ``normal``, ``shutdown`` and ``shutdown`` with a term."""
        ...


ReasonT = TypeVar("ReasonT", bound=Reason)

Verdict: TypeAlias = Literal["restart", "stop", "escalate"]
"""Start the child again, let it be, or end the supervisor with the child's reason."""

Classify: TypeAlias = Callable[[ReasonT], Verdict]
"""A supervisor's own opinion of an exit reason; it can refuse a restart, never add one."""

_VERDICTS = ("restart", "stop", "escalate")


def verdict_on(
    restart: Restart, reason: ReasonT, classify: Classify[ReasonT] | None = None
) -> Verdict:
    """Decide what follows from a child's own end.

    ========== ================= ==========================
    restart    expected reason   any other reason
    ========== ================= ==========================
    permanent  restart           restart
    transient  stop              restart
    temporary  stop              stop
    ========== ================= ==========================

    Where the table says restart, ``classify`` is asked, if there is one, and has the last word.

    Raises:
        InvalidSpec: ``classify`` answered with something else than a verdict.
        Exception: whatever ``classify`` raises.
    """
    if restart == "temporary" or (restart == "transient" and reason.expected):
        return "stop"
    if classify is None:
        return "restart"
    verdict = classify(reason)
    if verdict not in _VERDICTS:
        option, choices = "classify", ", ".join(map(repr, _VERDICTS))
        raise InvalidSpec(option, verdict, f"it must answer one of {choices}")
    return verdict


def is_worth_reporting(restart: Restart, reason: Reason) -> bool:
    """Return whether a child's own end is reported: a permanent one's always, else a crash."""
    return restart == "permanent" or not reason.expected


def is_shutdown_error(
    restart: Restart, reason: ReasonT, asked: ReasonT, *, dynamic: bool = False
) -> bool:
    """Return whether a child that was being stopped ended otherwise than it was asked to.

    It never stops the shutdown; it is only reported. A child that is not permanent may end
    with any expected reason; a permanent one of a dynamic supervisor with any but normal.

    Args:
        restart: the child's restart type.
        reason: what it ended with.
        asked: what it was asked to end with, ``killed`` for ``"brutal_kill"``, else
            ``shutdown``. A child that had to be killed after its time ends with ``killed``,
            which is not what it was asked.
        dynamic: whether its supervisor is a dynamic one.
    """
    if reason == asked:
        return False
    if restart != "permanent":
        return not reason.expected
    return reason.normal or not reason.expected if dynamic else True


def on_dynamic_exit(
    spec: ChildSpec, reason: ReasonT, classify: Classify[ReasonT] | None = None
) -> Literal["restart", "remove", "escalate"]:
    """Decide what a dynamic supervisor does with a child that ended by itself.

    A child that is not restarted is removed, a transient one too. ``"restart"`` is one attempt
    to be entered with `intensity.add_restart`; ``"escalate"`` ends the supervisor with
    ``reason``.

    Raises:
        InvalidSpec: ``classify`` answered with something else than a verdict.
        Exception: whatever ``classify`` raises.
    """
    verdict = verdict_on(spec.restart, reason, classify)
    return "remove" if verdict == "stop" else verdict
