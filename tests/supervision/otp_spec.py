"""What the model test supervises, as plain values that the model and the real tree are built from.

``repr`` of a `Spec` leaves out what is default, so that a failure prints a tree to paste.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

__all__ = ["CLASSIFIED", "EXPECTED", "Delay", "Op", "Spec"]

EXPECTED = frozenset({"normal", "shutdown", "shutdown:term"})
"""Exit reasons for which a transient child is not restarted."""

CLASSIFIED = {"fatal": "stop", "boom": "escalate"}
"""What a supervisor with ``classify`` answers to some of the others."""

Op = tuple[Any, ...]
"""One thing that happens: its name, whom it happens to, and its arguments."""


class Delay(NamedTuple):
    """A back-off without jitter, in seconds."""

    min: float
    max: float
    reset_after: float


@dataclass(frozen=True)
class Spec:
    """A child: a worker, a static or a dynamic supervisor.

    Args:
        start: how a worker starts: as a class, by a start function, and with or without a pause.
        traps: whether a worker traps exits.
        linger: seconds a trapping worker takes to stop when it is asked to.
        stumbles: whether a trapping worker then raises.
    """

    name: str
    kind: Literal["worker", "static", "dynamic"] = "worker"
    restart: Any = "permanent"
    shutdown: Any = 5.0
    significant: bool = False
    backoff: Delay | None = None
    # of a worker
    start: Literal["class", "slow class", "function", "slow function"] = "class"
    traps: bool = False
    linger: float = 0.0
    stumbles: bool = False
    # of a supervisor
    children: tuple[Spec, ...] = ()
    strategy: Any = "one_for_one"
    intensity: int = 3
    period: float = 5.0
    auto_shutdown: Any = "never"
    classify: bool = False
    max_children: int | None = None

    def __repr__(self) -> str:
        given = [
            f"{field.name}={value!r}"
            for field in fields(self)[1:]
            if (value := getattr(self, field.name)) != field.default
        ]
        return f"Spec({', '.join([repr(self.name), *given])})"

    def walk(self) -> Iterator[Spec]:
        """Yield this spec and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()
