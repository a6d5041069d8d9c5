"""Patterns: what a registry's `match` and `select` compare values with.

``...`` stands for anything. A tuple or list fits one of the same length whose items fit, a mapping
fits one that has its keys, with values that fit. Everything else is compared with ``==``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import EllipsisType
from typing import Any, cast

__all__ = ["fits"]


def fits(pattern: object, value: object) -> bool:
    """Say whether ``value`` fits ``pattern``; see the module. Pure.

    Raises:
        Exception: whatever the ``==`` of the two raises.
    """
    if isinstance(pattern, EllipsisType):
        return True
    for sequence in (tuple, list):
        if isinstance(pattern, sequence):
            items = cast("tuple[Any, ...]", pattern)
            if not isinstance(value, sequence):
                return False
            others = cast("tuple[Any, ...]", value)
            return len(items) == len(others) and all(map(fits, items, others))
    if isinstance(pattern, Mapping):
        if not isinstance(value, Mapping):
            return False
        wanted: Mapping[Any, Any] = pattern
        given: Mapping[Any, Any] = value
        return all(key in given and fits(part, given[key]) for key, part in wanted.items())
    return bool(pattern == value)
