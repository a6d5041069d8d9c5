"""Two stages for supervisors: `Shell` for the pure decisions, `Stage` for the running actors.

The shell carries actions out, and starts and stops nothing.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

from puckstream.actors import lifecycle
from puckstream.actors.actor import Actor
from puckstream.actors.scheduler import Scheduler
from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN, Custom, ExitReason
from puckstream.supervision.action import Actions, Report, Retry, ShutdownSelf, Start, Stop
from puckstream.supervision.child import IGNORE, ChildSpec, Flags, child
from puckstream.supervision.children import Children
from puckstream.supervision.dynamic import DynamicSupervisor
from puckstream.supervision.supervisor import Supervisor
from puckstream.testing.clock import VirtualClock
from puckstream.testing.gate import Gate

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


# ------------------------------------------------------------------------- running supervisors


class Worker(Actor):
    """Writes its start and its end into the stage's journal; raises what it is sent."""

    def __init__(self, stage: Stage, name: Any) -> None:
        super().__init__()
        self.stage, self.name = stage, name

    def on_start(self) -> Any:
        outcomes = self.stage.outcomes[self.name]
        outcome = outcomes.popleft() if outcomes else None
        if isinstance(outcome, BaseException):
            self.stage.note("fail", self.name)
            # Raised many times, it would drag an ever longer traceback along.
            raise outcome.with_traceback(None)
        if isinstance(outcome, Gate):
            return self._start_slowly(outcome)
        return self._started()

    async def _start_slowly(self, gate: Gate) -> None:
        self.stage.note("begin", self.name)
        self.actor_ref._on_death(lambda _ref, reason: self.stage.note("end", self.name, reason))
        await gate.wait()
        self.stage.note("start", self.name)

    def _started(self) -> None:
        self.stage.note("start", self.name)
        self.actor_ref._on_death(lambda _ref, reason: self.stage.note("end", self.name, reason))

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        if isinstance(message, Gate):
            return message.wait()
        return message


class Trapper(Worker):
    """Traps exits; its ``on_stop`` waits for the gate called ``stop <name>``, if there is one."""

    trap_exit = True

    async def on_stop(self) -> None:
        self.stage.note("stopping", self.name)
        gate = self.stage.gates.get(self.name)
        if gate is not None:
            await gate.wait()


class Work:
    """Counts lines of Python while it is entered: work, which a busy machine does not change."""

    def __init__(self) -> None:
        self.lines = 0

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._count)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(self._before)

    def _count(self, _frame: object, _event: str, _argument: object) -> Any:
        self.lines += 1
        return self._count


class Stage:
    """An engine on a virtual clock, and a journal of what its workers did."""

    def __init__(self) -> None:
        self.clock = VirtualClock(1000.0)
        self.journal: list[str] = []
        self.outcomes: defaultdict[Any, deque[Any]] = defaultdict(deque)
        self.gates: dict[Any, Gate] = {}

    async def __aenter__(self) -> Self:
        self.system = Scheduler(asyncio.get_running_loop(), self.clock)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.system.close()
        assert not self.system.zombies
        assert not self.system.actors

    def note(self, *what: object) -> None:
        self.journal.append(" ".join(map(str, what)))

    def news(self) -> list[str]:
        """Return what was noted since the last call."""
        news, self.journal = self.journal, []
        return news

    def will(self, name: Any, *outcomes: Any) -> None:
        """Queue what the next starts of a worker come to: an exception, a gate, or None."""
        self.outcomes[name].extend(outcomes)

    def hold(self, name: Any) -> Gate:
        """Have the ``on_stop`` of a `Trapper` wait."""
        return self.gates.setdefault(name, Gate())

    def worker(self, name: Any, /, **options: Any) -> ChildSpec:
        return child(Worker, self, name, id=name, **options)

    def workers(self, names: str, /, **options: Any) -> list[ChildSpec]:
        return [self.worker(name, **options) for name in names]

    def trapper(self, name: Any, /, **options: Any) -> ChildSpec:
        return child(Trapper, self, name, id=name, **options)

    def spawn(self, actor_class: type[Actor], *args: Any, **kwargs: Any) -> Any:
        """Start an actor without waiting for it."""
        return lifecycle.spawn(self.system, actor_class, args, kwargs)

    async def start(self, actor_class: type[Actor], *args: Any, **kwargs: Any) -> Any:
        ref = self.spawn(actor_class, *args, **kwargs)
        started = None if ref._extra is None else ref._extra.started
        if started is not None:
            await started
        return ref

    async def supervise(self, *specs: Any, **flags: Any) -> Any:
        """Start a supervisor that allows plenty of restarts."""
        return await self.start(Supervisor, specs, **{"intensity": 100, **flags})

    async def dynamic(self, **options: Any) -> Any:
        return await self.start(DynamicSupervisor, **{"intensity": 100, **options})

    async def end(self, ref: Any, reason: object = CRASH) -> None:
        """Have an actor end for a reason of its own."""
        if reason == NORMAL:
            await ref.stop(block=False)
        else:
            ref.exit(reason)
            await ref.wait_stopped()

    @staticmethod
    def counting() -> Work:
        """Return a counter of work, to be entered."""
        return Work()

    @staticmethod
    async def states(supervisor: Any) -> dict[Any, Any]:
        """Return each child's ref, or what it is instead of running."""
        rows = await supervisor.which_children()
        return {row.spec.id: row.ref or row.state for row in rows}

    async def turns(self) -> None:
        """Let everything happen that can without time passing."""
        await self.clock.settle()


@pytest.fixture
def only_reports() -> Iterator[None]:
    """Let supervisors report, to whoever listens at their logger, and silence all others."""
    supervisors = logging.getLogger("puckstream.supervision")
    others = [logging.getLogger(name) for name in ("puckstream.actors", "pykka")]
    before = [logger.level for logger in (supervisors, *others)]
    supervisors.setLevel(logging.INFO)
    supervisors.propagate = False
    for logger in others:
        logger.setLevel(logging.CRITICAL)
    yield
    supervisors.propagate = True
    for logger, level in zip((supervisors, *others), before, strict=True):
        logger.setLevel(level)


@pytest.fixture
def stage() -> Stage:
    """Return an engine to be entered, ``async with stage:``."""
    return Stage()
