"""Many children and many restarts: work that grows with their number, and nothing that is left.

Work is counted, in lines of Python and in turns of actors, so that a busy machine is no failure.
How long it takes is for the benchmarks to say (W1).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.signals import SHUTDOWN
from puckstream.supervision.child import Backoff, child
from puckstream.supervision.place import Counts
from puckstream.supervision.supervisor import Supervisor
from puckstream.testing.gate import Gate

BROKEN = RuntimeError("broken")
FEW, MANY, VERY_MANY = 200, 2_000, 100_000
RESTARTS = 10_000
MEMBERS = {"one_for_all": 3, "rest_for_one": 2}  # restarted with a child, itself included
PERIOD = 5.0


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """No record is made: pytest would keep them all."""
    caplog.set_level(logging.CRITICAL)


class Idle(Actor):
    """Does nothing."""


def idle(number: int, **options: Any) -> Any:
    return child(Idle, id=number, **options)


def turns_of(stage: Any) -> list[Any]:
    """Return a list that every actor is entered in at each of its turns."""
    turns: list[Any] = []
    activate = stage.system._activate

    def counting(ref: Any) -> None:
        turns.append(ref)
        activate(ref)

    stage.system._activate = counting
    return turns


def assert_linear(few: int, many: int) -> None:
    """Check the work for ten times as many: the same for each, and a little for all."""
    assert many < few * (MANY / FEW) * 1.05 + 500


# ----------------------------------------------------------------------------------------- work


async def test_a_static_supervisor_does_as_much_for_each_child_however_many_there_are(
    stage: Any,
) -> None:
    """S8, S30: to start and to stop them."""
    async with stage:
        starts, stops = [], []
        for count in (FEW, MANY):
            specs = [idle(number) for number in range(count)]
            with stage.counting() as work:
                supervisor = stage.spawn(Supervisor, specs)
            starts.append(work.lines)
            with stage.counting() as work:
                await supervisor.stop(block=False)
            stops.append(work.lines)
        assert_linear(*starts)
        assert_linear(*stops)


async def test_a_dynamic_supervisor_does_as_much_for_each_child_however_many_there_are(
    stage: Any,
) -> None:
    """S30: to start, terminate and stop them, and when they end by themselves."""
    async with stage:
        rows: list[list[int]] = []
        for count in (FEW, MANY):
            supervisor = await stage.dynamic()
            spec = child(Idle, restart="temporary")
            with stage.counting() as starting:
                refs = [await supervisor.start_child(spec) for _ in range(count)]
            with stage.counting() as terminating:
                for ref in refs[: count // 4]:
                    await supervisor.terminate_child(ref)
            with stage.counting() as ending:
                for ref in refs[count // 4 : count // 2]:
                    ref.exit(SHUTDOWN)
                await supervisor.count_children()
            with stage.counting() as stopping:
                await supervisor.stop(block=False)
            rows.append([work.lines for work in (starting, terminating, ending, stopping)])
        for few, many in zip(*rows, strict=True):
            assert_linear(few, many)


@pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one"])
async def test_a_restart_costs_the_same_however_many_siblings_there_are(
    stage: Any, strategy: Any
) -> None:
    """S24, S26: those before it are not even looked at."""
    async with stage:
        counts = []
        for count in (FEW, MANY):
            supervisor = await stage.supervise(*map(idle, range(count)), strategy=strategy)
            last = (await supervisor.which_child(count - 1)).ref
            with stage.counting() as work:
                last.kill()
                await supervisor.which_child(count - 1)
            counts.append(work.lines)
        assert counts[1] < counts[0] + 100


async def test_the_last_significant_child_is_found_without_looking_at_all_others(
    stage: Any,
) -> None:
    """S36."""
    async with stage:
        counts = []
        for count in (FEW, MANY):
            specs = [idle(number, restart="transient", significant=True) for number in range(count)]
            supervisor = await stage.supervise(*specs, auto_shutdown="all_significant")
            refs = [row.ref for row in await supervisor.which_children()]
            with stage.counting() as work:
                for ref in refs:
                    ref.exit(SHUTDOWN)
                await supervisor.wait_stopped()
            counts.append(work.lines)
        assert_linear(*counts)


async def test_deaths_that_wait_are_decided_with_as_much_for_each(stage: Any) -> None:
    """S15, S24: they come while a child takes its time to start."""
    async with stage:
        counts = []
        for count in (FEW, MANY):
            specs = [idle(number, restart="temporary") for number in range(count)]
            supervisor = await stage.supervise(*specs)
            refs = [row.ref for row in await supervisor.which_children()]
            gate = Gate()
            stage.will("slow", gate)
            starting = supervisor.start_child(stage.worker("slow"))
            await stage.turns()
            for ref in refs:
                ref.exit(SHUTDOWN)
            await stage.turns()
            with stage.counting() as work:
                gate.release()
                await starting
                await supervisor.count_children()
            assert await supervisor.count_children() == Counts(1, 1, 0, 1)
            counts.append(work.lines)
        assert_linear(*counts)


# --------------------------------------------------------------------------------------- 100,000


async def test_100_000_children_of_a_static_supervisor_start_and_stop_in_its_own_turns(
    stage: Any,
) -> None:
    """S8, S30: none of them needs a turn, a task, a timer or a stack."""
    async with stage:
        turns = turns_of(stage)
        supervisor = stage.spawn(Supervisor, map(idle, range(VERY_MANY)))
        assert await supervisor.count_children() == Counts(VERY_MANY, VERY_MANY, 0, VERY_MANY)
        ref = (await supervisor.which_child(VERY_MANY - 1)).ref
        ref.kill()
        with stage.counting() as work:
            again = (await supervisor.which_child(VERY_MANY - 1)).ref
            assert supervisor._actor.describe_child(again) == (VERY_MANY - 1, 1)
        assert work.lines < 2_000
        await supervisor.stop(block=False)
        assert set(turns) == {supervisor}
        assert len(turns) < 10
        assert (stage.system.actors, stage.clock.delays) == ({}, [])
        assert len(asyncio.all_tasks()) == 1
        del stage.system._activate


async def test_100_000_children_of_a_dynamic_supervisor_come_and_go_with_a_turn_each(
    stage: Any,
) -> None:
    """S30: the supervisor's turn for each start; one timer for all of them."""
    async with stage:
        turns = turns_of(stage)
        supervisor = await stage.dynamic()
        spec = child(Idle, restart="temporary")
        refs = [await supervisor.start_child(spec) for _ in range(VERY_MANY)]
        with stage.counting() as work:
            assert supervisor._actor.describe_child(refs[-1]) == ("Idle", 0)
            assert (await supervisor.which_child(refs[-1])).ref is refs[-1]
        assert work.lines < 2_000
        await supervisor.stop(block=False)
        assert set(turns) == {supervisor}
        assert len(turns) < VERY_MANY + 10
        assert {ref.reason for ref in refs} == {SHUTDOWN}
        assert (stage.system.actors, stage.clock.delays) == ({}, [])
        del stage.system._activate


# --------------------------------------------------------------------------------------- restarts


class Restarts:
    """Crashes one child of a supervisor again and again; a clock that moves on keeps it alive."""

    def __init__(self, stage: Any, kind: str) -> None:
        self.stage, self.kind = stage, kind
        self.options: dict[str, Any] = {"intensity": 3, "period": PERIOD}
        self.wait = PERIOD + 1.0

    async def start(self) -> None:
        stage, kind = self.stage, self.kind
        backoff = Backoff(min=1.0, max=2.0) if "backoff" in kind else None
        spec = child(Idle, id="a", backoff=backoff)
        if "dynamic" in kind:
            self.supervisor = await stage.dynamic(**self.options)
            self.ref = await self.supervisor.start_child(spec)
            return
        strategy = kind if kind.endswith(("all", "for_one")) else "one_for_one"
        self.supervisor = await stage.supervise(
            idle(1), spec, idle(2, restart="transient"), strategy=strategy, **self.options
        )
        self.ref = (await self.supervisor.which_child("a")).ref

    async def restart(self) -> Any:
        """Restart the child once; return a weak reference to the ref it had."""
        before = weakref.ref(self.ref)
        if "killed" in self.kind:
            self.ref.kill()
        else:
            await self.stage.end(self.ref)
        self.ref = None
        await self.supervisor.count_children()
        self.stage.clock.advance(self.wait)
        (self.ref,) = [
            row.ref for row in await self.supervisor.which_children() if row.spec.id == "a"
        ]
        assert self.ref is not None
        return before

    def size(self) -> dict[str, int]:
        """Count what there is."""
        system, extra = self.stage.system, self.supervisor._extra
        gc.collect()
        return {
            "actors": len(system.actors),
            "links": len(extra.links),
            "timers": len(extra.timers or ()) + len(self.stage.clock.delays),
            "tasks": len(asyncio.all_tasks()),
            "mailbox": self.supervisor.mailbox_length,
            "zombies": len(system.zombies),
            "objects": len(gc.get_objects()),
        }


@pytest.mark.parametrize(
    "kind",
    [
        "one_for_one",
        "one_for_all",
        "rest_for_one",
        "killed",
        "backoff",
        "dynamic",
        "dynamic backoff",
    ],
)
async def test_10_000_restarts_leave_nothing_behind(stage: Any, kind: str) -> None:
    """S18, S19: not an actor, a link, a timer, a task, a ref or any other object."""
    async with stage:
        restarts = Restarts(stage, kind)
        await restarts.start()
        for _ in range(20):  # until every table has the size it will have
            await restarts.restart()
        before = restarts.size()
        times = RESTARTS // MEMBERS.get(kind, 1)
        watched = [await restarts.restart() for _ in range(times)]
        after = restarts.size()
        (row,) = [row for row in await restarts.supervisor.which_children() if row.spec.id == "a"]
        assert row.restarts == times + 20
        assert [ref for ref in watched if ref() is not None] == []
        # Each weak reference is one, and so is the list of them.
        assert after.pop("objects") - before.pop("objects") - len(watched) < 50
        assert after == before
