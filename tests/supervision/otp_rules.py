"""The rules of docs/otp.md that say yes or no, written down a second time for the model."""

from __future__ import annotations

from tests.supervision.otp_procs import Slot, Sup
from tests.supervision.otp_spec import CLASSIFIED, EXPECTED, Delay, Spec

__all__ = ["delay_of", "is_last", "is_reported", "is_shutdown_error", "key_of", "verdict_on"]


def verdict_on(flags: Spec, spec: Spec, reason: str) -> str:
    """Say what follows a child's own end, by its restart type and the reason. S14."""
    if spec.restart == "temporary" or (spec.restart == "transient" and reason in EXPECTED):
        return "stop"
    return CLASSIFIED.get(reason, "restart") if flags.classify else "restart"


def is_reported(spec: Spec, reason: str) -> bool:
    """Whether a child's own end is reported. S16."""
    return spec.restart == "permanent" or reason not in EXPECTED


def is_shutdown_error(sup: Sup, spec: Spec, reason: str) -> bool:
    """Whether a child that was being stopped ended otherwise than asked. S33."""
    if reason == ("killed" if spec.shutdown == "brutal_kill" else "shutdown"):
        return False
    if spec.restart != "permanent":
        return reason not in EXPECTED
    return not (sup.dynamic and reason.startswith("shutdown"))


def is_last(sup: Sup) -> bool:
    """Whether the end of a significant child just now ends its supervisor. S36."""
    if sup.spec.auto_shutdown == "all_significant":
        return not any(slot.spec.significant and slot.state != "stopped" for slot in sup.slots)
    return bool(sup.spec.auto_shutdown == "any_significant")


def delay_of(backoff: Delay, attempts: int) -> float:
    return min(backoff.max, backoff.min * 2.0**attempts)


def key_of(slot: Slot) -> tuple[str, int] | None:
    proc = slot.old if slot.restarting else slot.proc
    return None if proc is None else proc.key
