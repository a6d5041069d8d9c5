"""Real supervisors and workers on a virtual clock, and a journal of their starts and ends."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

from puckstream.actors import lifecycle
from puckstream.actors.actor import Actor
from puckstream.actors.scheduler import Scheduler
from puckstream.actors.signals import Crash, Custom, Exit, ExitReason, Shutdown
from puckstream.actors.state import IDLE
from puckstream.errors import StartFailed
from puckstream.supervision.child import IGNORE, Backoff, ChildSpec
from puckstream.supervision.dynamic import DynamicSupervisor
from puckstream.supervision.place import ChildRow, Counts
from puckstream.supervision.supervisor import Supervisor
from tests.supervision.otp_spec import CLASSIFIED, Op, Spec

__all__ = ["World"]

BROKEN = "broken"
REPORTS = logging.getLogger("puckstream.supervision")
STRANGER = Exit(object(), Custom("stranger"))  # type: ignore[arg-type]  # an actor nobody knows


class Stuck(AssertionError):
    """Somebody waits, and nothing is left to happen."""


class Clock:
    """Time that goes from one timer to the next when it is told to."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.timers: list[tuple[float, int, Timer]] = []
        self.numbers = itertools.count()

    def now(self) -> float:
        return self.time

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        timer = Timer(callback, args)
        heapq.heappush(self.timers, (self.time + delay, next(self.numbers), timer))
        return timer

    def dues(self) -> set[float]:
        """Return when the timers that wait are due."""
        return {due for due, _, timer in self.timers if not timer.cancelled}

    def step(self, until: float = float("inf")) -> bool:
        """Go to the next timer that is due by then and run it; false if there is none."""
        while self.timers and self.timers[0][0] <= until:
            due, _, timer = heapq.heappop(self.timers)
            if not timer.cancelled:
                self.time = max(self.time, due)
                timer.callback(*timer.args)
                return True
        return False


class Timer:
    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.callback, self.args = callback, args
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Worker(Actor):
    """Starts, ends, unlinks and lingers as it is told to."""

    def __init__(self, world: World, spec: Spec, number: int | None = None) -> None:
        super().__init__()
        self.world, self.spec, self.number = world, spec, number
        self.trap_exit = spec.traps
        self.leaves = False

    def on_start(self) -> Any:
        return self.start_slowly() if self.spec.start == "slow class" else self.begin()

    async def start_slowly(self) -> None:
        await asyncio.sleep(0)
        self.begin()

    def begin(self) -> None:
        if self.number is None:
            outcome, self.number = self.world.begin(self.spec)
            if outcome != "start":
                raise RuntimeError(BROKEN)
        self.world.enter(self.actor_ref, self.spec, self.number)

    def on_receive(self, message: Any) -> None:
        self.leaves = True
        match message:
            case "unlink":
                self.leaves = False
                parent = self.actor_ref._parent
                if parent is not None:
                    self.unlink(parent)
            case "normal":
                self.stop()
            case "crash":
                raise RuntimeError(BROKEN)
            case Exit():
                self.leaves = False
            case _:
                self.finish(reason_of(message))

    def on_stop(self) -> Any:
        if self.leaves:
            return None
        if self.spec.linger:
            return self.linger()
        return self.stumble()

    async def linger(self) -> None:
        over = asyncio.get_running_loop().create_future()
        timer = self.world.clock.call_later(self.spec.linger, over.set_result, None)
        try:
            await over
        finally:
            timer.cancel()
        self.stumble()

    def stumble(self) -> None:
        if self.spec.stumbles:
            raise RuntimeError(BROKEN)


def start_by_function(context: Any, world: World, spec: Spec) -> Any:
    outcome, number = world.begin(spec)
    if outcome == "ignore":
        return IGNORE
    if outcome == "fail":
        raise RuntimeError(BROKEN)
    return context.spawn(Worker, world, spec, number).get()


async def start_slowly_by_function(context: Any, world: World, spec: Spec) -> Any:
    await asyncio.sleep(0)
    return start_by_function(context, world, spec)


class Static(Supervisor):
    def __init__(self, world: World, spec: Spec) -> None:
        super().__init__(
            [world.child(child) for child in spec.children],
            strategy=spec.strategy,
            auto_shutdown=spec.auto_shutdown,
            **flags_of(spec),
        )
        world.boot(self.actor_ref, spec)


class Dynamic(DynamicSupervisor):
    def __init__(self, world: World, spec: Spec) -> None:
        super().__init__(max_children=spec.max_children, **flags_of(spec))
        world.boot(self.actor_ref, spec)


def flags_of(spec: Spec) -> dict[str, Any]:
    return {
        "intensity": spec.intensity,
        "period": spec.period,
        "classify": classify if spec.classify else None,
    }


def classify(reason: ExitReason) -> Any:
    return CLASSIFIED.get(text_of(reason), "restart")


STARTS: dict[str, Callable[..., Any]] = {
    "class": Worker,
    "slow class": Worker,
    "function": start_by_function,
    "slow function": start_slowly_by_function,
    "static": Static,
    "dynamic": Dynamic,
}


class Ear(logging.Handler):
    """Enters what supervisors report into a journal."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self.world = world

    def emit(self, record: Any) -> None:
        _, number = self.world.names.get(record.ref, (record.child, 0))
        self.world.journal.append(("report", record.report, record.child, number))


class World:
    """An engine, and the real tree of ``spec`` on it."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.loop: Any = asyncio.get_running_loop()
        self.clock = Clock()
        self.system = Scheduler(self.loop, self.clock)
        self.journal: list[tuple[Any, ...]] = []
        self.plans: defaultdict[str, deque[str]] = defaultdict(deque)
        self.numbers: Counter[str] = Counter()
        self.latest: dict[str, Any] = {}
        self.keys: dict[Any, tuple[str, int]] = {}
        self.refs: dict[tuple[str, int], Any] = {}
        self.names: dict[str, tuple[str, int]] = {}
        self.replies: list[tuple[Any, Any]] = []
        self.ear = Ear(self)
        REPORTS.addHandler(self.ear)

    async def start(self) -> None:
        with contextlib.suppress(StartFailed):
            lifecycle.spawn(self.system, Static, (self, self.spec), {})
        await self.settle()

    # -- what the actors tell

    def begin(self, spec: Spec) -> tuple[str, int]:
        """Number a start of a worker, and say what it comes to."""
        self.numbers[spec.name] += 1
        plan = self.plans[spec.name]
        outcome = plan.popleft() if plan else "start"
        if outcome == "ignore" and "function" not in spec.start:
            outcome = "fail"
        number = self.numbers[spec.name]
        if outcome != "start":
            self.journal.append((outcome, spec.name, number))
        return outcome, number

    def enter(self, ref: Any, spec: Spec, number: int) -> None:
        self.journal.append(("start", spec.name, number))
        self.watch(ref, spec, number)

    def boot(self, ref: Any, spec: Spec) -> None:
        self.numbers[spec.name] += 1
        self.journal.append(("boot", spec.name, self.numbers[spec.name]))
        self.watch(ref, spec, self.numbers[spec.name])

    def watch(self, ref: Any, spec: Spec, number: int) -> None:
        self.keys[ref] = (spec.name, number)
        self.names[f"{ref.actor_class.__name__}#{ref.id}"] = (spec.name, number)
        self.refs[spec.name, number] = ref
        self.latest[spec.name] = ref
        ref._on_death(
            lambda _ref, reason: self.journal.append(("end", spec.name, number, text_of(reason)))
        )

    # -- what is done to them

    def child(self, spec: Spec) -> ChildSpec:
        return ChildSpec(
            spec.name,
            STARTS[spec.start if spec.kind == "worker" else spec.kind],
            (self, spec),
            restart=spec.restart,
            shutdown=spec.shutdown,
            type="worker" if spec.kind == "worker" else "supervisor",
            significant=spec.significant,
            backoff=None
            if spec.backoff is None
            else Backoff(
                spec.backoff.min, spec.backoff.max, jitter=0, reset_after=spec.backoff.reset_after
            ),
        )

    async def happen(self, op: Op) -> None:
        match op:
            case ("plan", name, *outcomes):
                self.plans[name].extend(outcomes)
            case ("noise", name):
                # An exit nobody cares for: what is asked from now on waits in the mailbox.
                self.latest[name]._deliver(STRANGER)
            case ("end", name, reason):
                self.end(self.latest[name], reason)
            case ("unlink", name):
                self.latest[name].call("unlink", timeout=None)
            case ("doom", name, delay, reason):
                self.clock.call_later(delay, self.doom, self.latest[name], reason)
            case ("signal", name, reason):
                self.latest[name].exit(reason_of(reason))
            case ("ask", name, request, argument):
                ref = self.latest[name]
                self.replies.append((ref, self.ask(ref, request, argument)))
            case ("stop", name, "normal"):
                self.latest[name].stop(block=False)
            case ("stop", name, reason):
                self.latest[name].exit(reason)
            case ("advance", seconds):
                await self.advance(self.clock.time + seconds)
            case _:
                raise ValueError(op)

    def end(self, ref: Any, reason: str) -> None:
        """Have an idle actor end at once, for a reason of its own."""
        if reason == "killed":
            ref.kill()
        elif ref.is_alive():
            ref.call(reason, timeout=None)
            assert ref.state == "dead"

    def doom(self, ref: Any, reason: str) -> None:
        if ref.is_alive():
            self.end(ref, reason)

    def ask(self, ref: Any, request: str, argument: Any) -> Any:
        call = getattr(ref, request)
        if argument is None:
            return call()
        if isinstance(argument, Spec):
            return call(self.child(argument))
        if isinstance(argument, tuple):
            argument = self.refs.get(argument, ref)
        return call(argument)

    def answers(self) -> list[Any]:
        """Return what has become of the requests, in the model's words."""
        replies, self.replies = self.replies, []
        return [self.answer_of(ref, reply) for ref, reply in replies]

    def answer_of(self, supervisor: Any, reply: Any) -> Any:
        try:
            answer = reply.get()
        except Exception as error:  # noqa: BLE001  # which one is what the model says
            return type(error).__name__
        if isinstance(answer, Counts):
            return astuple(answer)
        if isinstance(answer, tuple):
            rows = [self.row_of(row) for row in answer]
            return sorted(rows, key=repr) if supervisor.actor_class is Dynamic else rows
        if isinstance(answer, ChildRow):
            return self.row_of(answer)
        if isinstance(answer, ChildSpec):
            return answer.id
        return None if answer is None else self.keys[answer]

    def row_of(self, row: ChildRow[Any]) -> tuple[Any, int | None, str]:
        return row.spec.id, None if row.ref is None else self.keys[row.ref][1], row.state

    # -- time

    async def settle(self) -> None:
        """Let everything happen that can; time passes only while somebody waits for it."""
        while True:
            for _ in range(10_000):
                if not self.loop._ready:
                    break
                await asyncio.sleep(0)
            else:
                msg = "the loop does not come to rest"
                raise Stuck(msg)
            if not self.system.zombies and all(
                ref._state == IDLE for ref in self.system.actors.values()
            ):
                return
            if not self.clock.step():
                busy = [f"{ref}: {ref.state}" for ref in self.system.actors.values()]
                msg = f"somebody waits for nothing: {busy}, {self.system.zombies}"
                raise Stuck(msg)

    async def advance(self, until: float) -> None:
        await self.settle()
        while self.clock.step(until):
            await self.settle()
        self.clock.time = max(self.clock.time, until)

    async def close(self) -> None:
        REPORTS.removeHandler(self.ear)
        await self.system.close()


def reason_of(text: str) -> ExitReason:
    """Return the reason a word of the model stands for."""
    return Shutdown("term") if text == "shutdown:term" else ExitReason.of(text)


def text_of(reason: ExitReason) -> str:
    """Return a reason in the model's words."""
    match reason:
        case Crash():
            return "crash"
        case Shutdown("term"):
            return "shutdown:term"
        case Shutdown():
            return "shutdown"
        case _:
            return str(reason)
