"""A child's place in its supervisor's list: what is kept, and what is shown of it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

from puckstream.supervision.child import ChildSpec

__all__ = ["ChildRow", "ChildState", "Counts", "Place"]

RefT = TypeVar("RefT", bound=Hashable)
ReasonT = TypeVar("ReasonT")

ChildState: TypeAlias = Literal["running", "restarting", "stopped"]
"""Running, between two attempts to start, or not running."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many children there are: all specs, those running, and all of either type."""

    specs: int
    active: int
    supervisors: int
    workers: int


@dataclass(frozen=True, slots=True)
class ChildRow(Generic[RefT]):
    """One child as it stands.

    Args:
        spec: its spec; without arguments if it is a temporary child that runs.
        ref: its actor; None unless it runs.
        state: whether it runs.
        restarts: how often the supervisor started it again.
        started_at: monotonic time of its last start; 0 if it never started.
    """

    spec: ChildSpec
    ref: RefT | None
    state: ChildState
    restarts: int
    started_at: float


class Place(Generic[RefT, ReasonT]):
    """What `children.Children` keeps of one child; mutable, so a restart touches nothing else.

    ``attempts`` counts tries in a row for the back-off. ``token`` is that of the `Retry` which
    may start the child, 0 for none, and ``cause`` is what that retry is about.
    """

    __slots__ = ("attempts", "cause", "ref", "restarts", "spec", "started_at", "state", "token")

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.ref: RefT | None = None
        self.state: ChildState = "stopped"
        self.restarts = 0
        self.attempts = 0
        self.started_at = 0.0
        self.token = 0
        self.cause: ReasonT | None = None

    def occupy(self, ref: RefT, now: float) -> None:
        """The child runs as ``ref`` since ``now``."""
        self.ref = ref
        self.state = "running"
        self.started_at = now
        self.token = 0
        # A reason may hold an exception with all its frames: keep none while the child runs.
        self.cause = None
        if self.spec.restart == "temporary":
            self.spec = self.spec.forget_arguments()

    def vacate(self, state: ChildState = "stopped") -> None:
        """The child does not run, and no retry is due."""
        self.ref = None
        self.state = state
        self.token = 0
        self.cause = None

    def row(self) -> ChildRow[RefT]:
        """Return the child as it stands."""
        return ChildRow(self.spec, self.ref, self.state, self.restarts, self.started_at)
