"""Memory, as the operating system counts it."""

from __future__ import annotations

import psutil

__all__ = ["resident"]


def resident() -> int:
    """Return the resident memory of this process, in bytes."""
    return int(psutil.Process().memory_info().rss)
