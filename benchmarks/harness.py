"""Side by side: the subjects of a workload take turns, round after round, in one run.

Every subject has a process of its own, which waits while the others have their turn; with
``fresh`` every turn has one. Who begins changes from round to round. A subject that fails or takes
too long is a remark in the table, and the others go on.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Final, Self

from benchmarks.workload import Figure, Goal, Sample, Subject, Workload

__all__ = ["Measured", "Outcome", "measure"]

ROOT: Final = Path(__file__).resolve().parent.parent
LIMIT: Final = 60.0
"""Seconds a turn may take."""


class TurnFailed(Exception):
    """A turn ended without figures."""


class Stage:
    """The process of one subject."""

    def __init__(self, workload: Workload, subject: Subject) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.stage", workload.name, subject.name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def turn(self, size: int) -> Sample:
        """Have the subject do one turn.

        Raises:
            TurnFailed: if it fails, or takes too long.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        late = threading.Timer(LIMIT, self._process.kill)
        late.start()
        try:
            stdin.write(f"{size}\n")
            stdin.flush()
            line = stdout.readline()
        except OSError as error:
            raise TurnFailed(str(error)) from error
        finally:
            late.cancel()
        if not line:
            code = self._process.wait()
            msg = f"took more than {LIMIT:g} s" if code == -9 else f"ended with {code}"
            raise TurnFailed(msg)
        answer = json.loads(line)
        if "error" in answer:
            raise TurnFailed(answer["error"])
        sample: Sample = answer["sample"]
        return sample

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True)
class Measured:
    """A goal with what was measured for it, one value per round."""

    goal: Goal
    values: list[float]
    ours: list[float]
    peer: list[float]
    remark: str = ""
    quick: bool = False

    @property
    def value(self) -> float | None:
        """The median over the rounds."""
        return median(self.values) if self.values else None

    @property
    def reached(self) -> str:
        """What the median reaches: ``aim``, ``must``, ``MISSED``, or nothing to reach.

        Nothing is reached with ``--quick``, which measures nothing.
        """
        value, goal = self.value, self.goal
        if value is None:
            return "not measured"
        if self.quick or (goal.must is None and goal.aim is None):
            return ""
        if goal.must is not None and not goal.must.holds(value):
            return "MISSED"
        if goal.aim is not None and goal.aim.holds(value):
            return "aim"
        return "must" if goal.must is not None else "no aim"


@dataclass
class Outcome:
    """Everything one workload gave."""

    workload: Workload
    quick: bool = False
    samples: dict[str, list[Sample]] = field(default_factory=dict[str, list[Sample]])
    remarks: dict[str, str] = field(default_factory=dict[str, str])
    seconds: float = 0.0

    def rows(self) -> list[Measured]:
        """Return the goals with their values."""
        return [self._row(goal) for goal in self.workload.goals]

    def _row(self, goal: Goal) -> Measured:
        figures = [goal.ours] if goal.peer is None else [goal.ours, goal.peer]
        for figure in figures:
            if figure.subject in self.remarks:
                remark = f"{figure.subject}: {self.remarks[figure.subject]}"
                return Measured(goal, [], self._values(goal.ours), [], remark, self.quick)
        ours = self._values(goal.ours)
        peer = ours if goal.peer is None else self._values(goal.peer)
        values = [goal.value(mine, other) for mine, other in zip(ours, peer, strict=True)]
        others = [] if goal.peer is None else peer
        return Measured(goal, values, ours, others, quick=self.quick)

    def _values(self, figure: Figure) -> list[float]:
        return [sample[figure.name] for sample in self.samples.get(figure.subject, [])]


def measure(workload: Workload, *, quick: bool) -> Outcome:
    """Give every subject its turns; ``quick`` is one round of the small sizes."""
    outcome = Outcome(workload, quick)
    begun = time.perf_counter()
    able: list[Subject] = []
    for subject in workload.subjects:
        reason = subject.absent()
        if reason is None:
            able.append(subject)
        else:
            outcome.remarks[subject.name] = reason
    stages: dict[str, Stage] = {}
    try:
        if not workload.fresh:
            for subject in able:
                stages[subject.name] = Stage(workload, subject)
                if not quick:
                    _turn(outcome, stages[subject.name], subject, subject.quick, keep=False)
        for number in range(1 if quick else workload.rounds):
            first = number % len(able) if able else 0
            for subject in (*able[first:], *able[:first]):
                if subject.name in outcome.remarks:
                    continue
                size = subject.quick if quick else subject.size
                if workload.fresh:
                    with Stage(workload, subject) as stage:
                        _turn(outcome, stage, subject, size, keep=True)
                else:
                    _turn(outcome, stages[subject.name], subject, size, keep=True)
    finally:
        for stage in stages.values():
            stage.close()
    outcome.seconds = time.perf_counter() - begun
    return outcome


def _turn(outcome: Outcome, stage: Stage, subject: Subject, size: int, *, keep: bool) -> None:
    try:
        sample = stage.turn(size)
    except TurnFailed as error:
        outcome.remarks[subject.name] = str(error)
        outcome.samples.pop(subject.name, None)
        return
    if keep:
        outcome.samples.setdefault(subject.name, []).append(sample)
