"""Restart intensity: how many restarts a supervisor allows inside a period.

A restart that is exactly ``period`` seconds old still counts. There is one list of times per
supervisor, not one per child, and a group restart is entered once.
"""

from __future__ import annotations

from bisect import bisect_left

__all__ = ["add_restart", "restarts_within"]


def add_restart(
    restarts: tuple[float, ...], now: float, intensity: int, period: float
) -> tuple[tuple[float, ...], bool]:
    """Enter a restart attempt at ``now`` and say whether it is allowed.

    Pure. Times older than ``now - period`` are dropped, and never more than ``intensity + 1``
    are kept, so the tuple stays small however often a child crashes.

    Args:
        restarts: the times kept so far, oldest first, as an earlier call returned them.
        now: monotonic time in seconds, not before the last of ``restarts``.
        intensity: the number of attempts allowed inside ``period``.
        period: the length of the window, in seconds.

    Returns:
        The times to keep, and False if this attempt is one too many.
    """
    kept = (*restarts[bisect_left(restarts, now - period) :], now)
    if len(kept) <= intensity:
        return kept, True
    return kept[-(intensity + 1) :], False


def restarts_within(restarts: tuple[float, ...], now: float, period: float) -> int:
    """Return how many of ``restarts`` (oldest first) still count at ``now``."""
    return len(restarts) - bisect_left(restarts, now - period)
