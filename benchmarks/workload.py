"""What a benchmark is made of: subjects that take turns, and goals that compare them.

A subject's function is called with a size, does the work once, and returns what it measured as
figures per operation, so that subjects of different sizes can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "Bound",
    "Figure",
    "Goal",
    "Sample",
    "Subject",
    "Workload",
    "at_least",
    "at_most",
    "costs",
    "faster",
    "reads",
]

Sample: TypeAlias = Mapping[str, float]
"""What one turn measured, by name of the figure."""


@dataclass(frozen=True)
class Subject:
    """One of those that are measured.

    Args:
        name: as the table shows it.
        run: one turn; called with ``size`` or ``quick``, in a process of the subject's own.
        size: operations of one turn.
        quick: the same with ``--quick``, and for the turn that warms up.
        absent: asked before the first turn; the reason why it cannot run here, or None.
    """

    name: str
    run: Callable[[int], Sample]
    size: int
    quick: int
    absent: Callable[[], str | None] = lambda: None


@dataclass(frozen=True)
class Figure:
    """One figure of one subject."""

    subject: str
    name: str


@dataclass(frozen=True)
class Bound:
    """What a value must reach."""

    least: float | None = None
    most: float | None = None

    def holds(self, value: float) -> bool:
        """Whether ``value`` is good enough."""
        if self.least is not None and value < self.least:
            return False
        return self.most is None or value <= self.most


def at_least(value: float) -> Bound:
    """Return the bound that holds from ``value`` up."""
    return Bound(least=value)


def at_most(value: float) -> Bound:
    """Return the bound that holds up to ``value``."""
    return Bound(most=value)


@dataclass(frozen=True)
class Goal:
    """One row of the table: a value made of one figure or two, and what it must reach.

    The value is made of the figures of one round, in which the subjects took turns, and the
    median is taken of those values: so the load of the machine, which changes from minute to
    minute, cancels out.
    """

    label: str
    relation: Literal["faster", "costs", "reads"]
    ours: Figure
    peer: Figure | None
    unit: str
    must: Bound | None
    aim: Bound | None

    def value(self, ours: float, peer: float) -> float:
        """Return the value of one round."""
        match self.relation:
            case "faster":
                return peer / ours
            case "costs":
                return ours / peer
            case "reads":
                return ours


def faster(
    label: str,
    *,
    ours: str,
    peer: str,
    figure: str = "time",
    unit: str = "µs",
    must: float | None = None,
    aim: float | None = None,
) -> Goal:
    """Return the goal that ``ours`` needs so many times less of ``figure`` than ``peer``."""
    return Goal(
        label,
        "faster",
        Figure(ours, figure),
        Figure(peer, figure),
        unit,
        None if must is None else at_least(must),
        None if aim is None else at_least(aim),
    )


def costs(
    label: str,
    *,
    ours: str,
    peer: str,
    figure: str = "time",
    peer_figure: str | None = None,
    unit: str = "µs",
    must: float | None = None,
    aim: float | None = None,
) -> Goal:
    """Return the goal that ``ours`` needs at most this share of what ``peer`` needs."""
    return Goal(
        label,
        "costs",
        Figure(ours, figure),
        Figure(peer, peer_figure or figure),
        unit,
        None if must is None else at_most(must),
        None if aim is None else at_most(aim),
    )


def reads(
    label: str,
    *,
    ours: str,
    figure: str,
    unit: str,
    must: Bound | None = None,
    aim: Bound | None = None,
) -> Goal:
    """Return the goal for a figure as it is, compared with nobody's."""
    return Goal(label, "reads", Figure(ours, figure), None, unit, must, aim)


@dataclass(frozen=True)
class Workload:
    """Subjects that take turns, and the goals of it.

    Args:
        name: what the command line calls it.
        title: what it does, for the table.
        fresh: whether every turn gets a new process, where memory or the state of garbage
            collection would reach from one turn into the next; else every subject keeps one.
        rounds: how many times everybody has a turn.
    """

    name: str
    title: str
    subjects: tuple[Subject, ...]
    goals: tuple[Goal, ...]
    fresh: bool = False
    rounds: int = 5
