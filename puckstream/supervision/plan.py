"""Work that a static supervisor has under way: who is to be stopped, and who started."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, Literal, TypeAlias, TypeVar

from puckstream.supervision.place import Place

__all__ = ["Plan", "Purpose"]

RefT = TypeVar("RefT", bound=Hashable)
ReasonT = TypeVar("ReasonT")

Purpose: TypeAlias = Literal["boot", "add", "by_hand", "restart", "terminate", "stop_all"]
"""What the work is for, which decides what a start that fails means."""


class Plan(Generic[RefT, ReasonT]):
    """First the stops, then the starts, both taken from the end.

    ``current`` is the child whose `Start` or `Stop` waits for its answer.
    """

    __slots__ = ("current", "purpose", "to_start", "to_stop")

    def __init__(
        self,
        purpose: Purpose,
        to_stop: list[Place[RefT, ReasonT]],
        to_start: list[Place[RefT, ReasonT]],
    ) -> None:
        self.purpose: Purpose = purpose
        self.to_stop = to_stop
        self.to_start = to_start
        self.current: Place[RefT, ReasonT] | None = None
