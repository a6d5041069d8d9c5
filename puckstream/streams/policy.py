"""How long a stream may take: three clocks, each with a reason of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from puckstream.errors import InvalidOption

__all__ = ["Timeout", "check_span"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout:
    """The longest waits a stream allows itself, in seconds; ``None`` means for ever.

    A clock that runs out cancels the stream with the reason ``timeout_first``, ``timeout_idle``
    or ``timeout_total``. The fields are keyword-only, because a bare ``Timeout(30)`` would not
    say which clock it sets.

    Args:
        first: from the start to the first chunk.
        idle: from any chunk to the next one.
        total: from the start to the end.

    Raises:
        InvalidOption: if a value is not ``None`` or a positive finite number.
    """

    first: float | None = None
    idle: float | None = None
    total: float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value: object = getattr(self, each.name)
            if value is not None:
                object.__setattr__(self, each.name, _seconds(f"timeout.{each.name}", value))

    @classmethod
    def of(cls, value: Timeout | float | None) -> Timeout:
        """Return ``value`` as a `Timeout`; a plain number means ``total``.

        Args:
            value: a `Timeout`, which is returned as it is; seconds; or ``None`` for no limit.

        Raises:
            InvalidOption: if ``value`` is anything else, or not positive and finite.
        """
        if isinstance(value, Timeout):
            return value
        if value is None:
            return cls()
        return cls(total=_seconds("timeout", value))


def check_span(option: str, value: object) -> float:
    """Return ``value`` as seconds, 0 or more.

    Raises:
        InvalidOption: if it is no finite number, or below 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidOption(option, value, "give seconds as a number")
    if not 0 <= value < math.inf:
        raise InvalidOption(option, value, "give a finite number of seconds, 0 or more")
    return float(value)


def _seconds(option: str, value: object) -> float:
    # A bool is an int to Python, and timeout=True is always a mistake.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidOption(option, value, "give seconds as a number, or None for no limit")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not (0.0 < seconds < math.inf):
        raise InvalidOption(option, value, "give a positive, finite number of seconds, or None")
    return seconds
