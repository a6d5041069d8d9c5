"""Supervisors' reports: one structured log record for each thing that did not go as planned.

The kinds are OTP's. What somebody has logged already, with its traceback, and what was to be
expected, such as a permanent child that finished, is told at level INFO; all else at ERROR.
"""

from __future__ import annotations

import logging
from typing import Any

from puckstream.actors.crash_report import harmless, path_of
from puckstream.actors.ref import ActorRef
from puckstream.actors.signals import Crash, ExitReason, text_of
from puckstream.supervision.action import Report
from puckstream.supervision.child import Flags

__all__ = ["level_of", "log_report"]

logger = logging.getLogger("puckstream.supervision")


def log_report(
    supervisor: ActorRef[Any], flags: Flags, report: Report[ActorRef[Any], ExitReason]
) -> None:
    """Log a report of ``supervisor``.

    The record has ``report`` (its kind), ``supervisor`` (its path in the tree), ``child`` (the
    id), ``ref`` (class and number of the actor, as crash reports have it; ``""`` if it never
    ran), ``reason`` and ``restarts`` (how often the child had been restarted).
    """
    level = level_of(report)
    if not logger.isEnabledFor(level):
        return
    with harmless(f"the end of child {text_of(report.id)}"):
        _log(supervisor, report, flags, level)


def _log(
    supervisor: ActorRef[Any], report: Report[Any, ExitReason], flags: Flags, level: int
) -> None:
    reason, restarts = report.reason, report.restarts
    said = report.kind.replace("_", " ")
    if report.kind == "reached_max_restart_intensity":
        said += f", more than {flags.intensity} in {flags.period:g} s"
    elif restarts:
        said += f", restarted {restarts}× before"
    error = None
    if report.kind == "start_error" and isinstance(reason, Crash) and level == logging.ERROR:
        error = reason.error
    path = path_of(supervisor)
    logger.log(
        level,
        "%s: child %r: %s (%s)",
        path,
        report.id,
        said,
        reason,
        exc_info=error,
        extra={
            "report": report.kind,
            "supervisor": path,
            "child": report.id,
            "ref": _name_of(report.ref),
            "reason": str(reason),
            "restarts": restarts,
        },
    )


def level_of(report: Report[Any, ExitReason]) -> int:
    """Return the level at which ``report`` is logged: INFO if nobody needs to be woken."""
    reason = report.reason
    if report.kind == "reached_max_restart_intensity":
        return logging.ERROR
    if reason is None or reason.expected:
        return logging.INFO
    if report.kind != "start_error" and isinstance(reason, Crash):
        # The actor has reported what it raised. What was never raised was somebody's ``exit``.
        return logging.ERROR if reason.error.__traceback__ is None else logging.INFO
    return logging.ERROR


def _name_of(ref: ActorRef[Any] | None) -> str:
    return "" if ref is None else f"{ref.actor_class.__name__}#{ref.id}"
