"""A shell for the pure decisions: it carries actions out, and starts and stops nothing."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

import pytest

from puckstream.actors.signals import KILLED, SHUTDOWN, Custom, ExitReason
from puckstream.supervision.action import Actions, Report, Retry, ShutdownSelf, Start, Stop
from puckstream.supervision.child import IGNORE, ChildSpec, Flags
from puckstream.supervision.children import Children

CRASH = Custom("crash")


class Shell:
    """Carries actions out: refs are ``a1``, ``a2``, …; starts and stops do as they are told."""

    def __init__(self, *specs: ChildSpec, classify: Any = None, **flags: Any) -> None:
        flags = {"intensity": 100, **flags}
        self.children: Children[str, ExitReason] = Children(
            Flags(**flags), specs, shutdown=SHUTDOWN, killed=KILLED, classify=classify
        )
        self.now = 0.0
        self.log: list[str] = []
        self.reports: list[tuple[Any, ...]] = []
        self.retries: deque[Retry] = deque()
        self.ended: ShutdownSelf[ExitReason] | None = None
        self.next_starts: defaultdict[Any, deque[Any]] = defaultdict(deque)
        self.next_stops: dict[str, ExitReason] = {}
        self.generations: defaultdict[Any, int] = defaultdict(int)

    def will(self, child_id: str, *outcomes: Any) -> None:
        """Queue what the next starts of a child come to: a failure, or IGNORE."""
        self.next_starts[child_id].extend(outcomes)

    def run(self, actions: Actions[str, ExitReason]) -> list[str]:
        """Carry out ``actions`` and what follows; return the log of this run."""
        done = len(self.log)
        while actions:
            *before, last = actions
            assert not any(isinstance(action, (Start, Stop)) for action in before)
            for action in actions:
                self.note(action)
            actions = self.answer(last)
        assert not self.children.busy or self.children.ended
        return self.log[done:]

    def note(self, action: Any) -> None:
        match action:
            case Report(kind, child_id, ref, reason):
                self.reports.append((kind, child_id, ref, reason))
            case Retry():
                self.retries.append(action)
            case ShutdownSelf():
                assert self.ended is None
                self.ended = action
            case _:
                pass

    def answer(self, action: Any) -> Actions[str, ExitReason]:
        match action:
            case Start(spec):
                outcomes = self.next_starts[spec.id]
                outcome = outcomes.popleft() if outcomes else None
                if outcome is IGNORE:
                    self.log.append(f"ignore {spec.id}")
                    return self.children.ignored()
                if outcome is not None:
                    self.log.append(f"fail {spec.id}")
                    return self.children.failed(outcome)
                self.generations[spec.id] += 1
                ref = f"{spec.id}{self.generations[spec.id]}"
                self.log.append(f"start {ref}")
                return self.children.started(ref, self.now)
            case Stop(spec, ref):
                self.log.append(f"stop {ref}")
                asked = KILLED if spec.shutdown == "brutal_kill" else SHUTDOWN
                return self.children.stopped(self.next_stops.pop(ref, asked))
            case _:
                return ()

    def exit(self, ref: str, reason: ExitReason = CRASH) -> list[str]:
        return self.run(self.children.exited(ref, reason, self.now))

    def retry(self) -> list[str]:
        return self.run(self.children.try_again(self.retries.popleft(), self.now))

    @property
    def states(self) -> dict[Any, str]:
        return {row.spec.id: row.ref or row.state for row in self.children.rows()}


@pytest.fixture
def shell_of() -> type[Shell]:
    """Make a shell around children of which none is started."""
    return Shell


@pytest.fixture
def booted() -> Callable[..., Shell]:
    """Make a shell whose children run, as far as they start."""

    def boot(*specs: ChildSpec, **options: Any) -> Shell:
        shell = Shell(*specs, **options)
        shell.run(shell.children.start_all())
        return shell

    return boot
