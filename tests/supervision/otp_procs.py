"""The actors of the model: what was started, and what a supervisor knows of its children."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from tests.supervision.otp_spec import Spec

__all__ = ["Bag", "Entry", "Proc", "Slot", "Sup", "flat"]

Entry = tuple[Any, ...]


class Bag(list[Entry]):
    """Entries that stand together in any order."""


class Proc:
    """An actor that was started, and may have ended."""

    def __init__(self, spec: Spec, number: int, boss: Sup | None) -> None:
        self.spec = spec
        self.number = number
        self.boss = boss
        self.alive = True
        self.reason = ""
        self.stopping = False
        self.linked = boss is not None

    @property
    def key(self) -> tuple[str, int]:
        return self.spec.name, self.number


class Slot:
    """A supervisor's knowledge of one child."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.proc: Proc | None = None
        self.old: Proc | None = None
        self.restarting = False
        self.token = 0
        self.attempts = 0
        self.restarts = 0
        self.started_at = 0.0

    @property
    def state(self) -> str:
        if self.restarting:
            return "restarting"
        return "stopped" if self.proc is None else "running"

    def occupy(self, proc: Proc, now: float) -> None:
        self.vacate()
        self.proc, self.started_at = proc, now

    def vacate(self) -> None:
        if self.proc is not None:
            self.old = self.proc
        self.proc, self.restarting, self.token = None, False, 0


class Sup(Proc):
    """A supervisor, static or dynamic."""

    def __init__(self, spec: Spec, number: int, boss: Sup | None) -> None:
        super().__init__(spec, number, boss)
        self.slots: list[Slot] = []
        self.restarts: list[float] = []
        self.mailbox: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()

    @property
    def dynamic(self) -> bool:
        return self.spec.kind == "dynamic"

    def find(self, name: str) -> Slot | None:
        return next((slot for slot in self.slots if slot.spec.name == name), None)

    def rows(self) -> list[tuple[str, int | None, str]]:
        rows = [self.row(slot) for slot in self.slots]
        return sorted(rows, key=repr) if self.dynamic else rows

    def row(self, slot: Slot) -> tuple[str, int | None, str]:
        return slot.spec.name, None if slot.proc is None else slot.proc.number, slot.state

    def counts(self) -> tuple[int, int, int, int]:
        running = [slot for slot in self.slots if slot.proc is not None]
        if not self.dynamic:  # S32: one that died unnoticed has a ref, but is not active
            running = [slot for slot in running if slot.proc is not None and slot.proc.alive]
        workers = sum(slot.spec.kind == "worker" for slot in self.slots)
        return len(self.slots), len(running), len(self.slots) - workers, workers

    def in_window(self, now: float) -> int:
        return sum(at >= now - self.spec.period for at in self.restarts)


def flat(journal: list[Any]) -> list[Entry]:
    """Return the entries of a journal with its bags opened."""
    entries: list[Entry] = []
    for item in journal:
        entries += item if isinstance(item, Bag) else [item]
    return entries
