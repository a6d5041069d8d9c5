"""Starting and stopping one child, without a supervisor's decisions around it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.reply import Reply
from puckstream.actors.signals import KILLED, SHUTDOWN, Crash, Custom
from puckstream.errors import StartFailed
from puckstream.supervision.child import IGNORE, child
from puckstream.supervision.staff import Staff, Started, reason_of
from puckstream.testing.gate import Gate

BROKEN = RuntimeError("broken")


class Boss(Actor):
    """Stands for a supervisor."""

    trap_exit = True

    def __init__(self) -> None:
        super().__init__()
        self.staff = Staff(self.actor_ref)

    def on_receive(self, message: Any) -> None:
        """Take exits without a word."""


class Idle(Actor):
    """Does nothing."""


async def employ(stage: Any) -> tuple[Any, Staff]:
    boss = await stage.start(Boss)
    return boss, boss._actor.staff


def links_of(ref: Any) -> list[Any]:
    return list(ref._extra.links or ())


# ----------------------------------------------------------------------------------------- start


async def test_a_child_whose_start_does_not_suspend_is_running_when_start_returns(
    stage: Any,
) -> None:
    """S7, S9."""
    async with stage:
        boss, staff = await employ(stage)
        started = staff.start(stage.worker("a"))
        assert isinstance(started, Started)
        assert started.answer is started.ref
        assert started.ref.is_alive()
        assert links_of(boss) == [started.ref]


async def test_only_a_child_that_takes_its_time_is_something_to_wait_for(stage: Any) -> None:
    """S7: it is linked before it has started."""
    async with stage:
        boss, staff = await employ(stage)
        gate = Gate()
        stage.will("a", gate)
        starting = staff.start(stage.worker("a"))
        assert asyncio.iscoroutine(starting)
        assert len(links_of(boss)) == 1
        gate.release()
        assert (await starting).ref.is_alive()


@pytest.mark.parametrize("slow", [False, True])
async def test_a_start_that_fails_leaves_no_link(stage: Any, slow: bool) -> None:
    """S11: the failure is told by return, and by no exit signal."""
    async with stage:
        boss, staff = await employ(stage)

        class Fails(Actor):
            def on_start(self) -> Any:
                return self.fail() if slow else raise_broken()

            async def fail(self) -> None:
                await Gate(open=True).wait()
                raise_broken()

        with pytest.raises(StartFailed) as raised:
            await started(staff, child(Fails))
        assert reason_of(raised.value) == Crash(BROKEN)
        assert (links_of(boss), boss.mailbox_length) == ([], 0)
        assert list(stage.system.actors.values()) == [boss]


async def started(staff: Staff, spec: Any) -> Any:
    starting: Any = staff.start(spec)
    return await starting


def raise_broken() -> None:
    raise BROKEN


async def test_what_a_failed_start_function_has_spawned_goes_with_it(stage: Any) -> None:
    """S9: nothing of the child remains."""
    async with stage:
        boss, staff = await employ(stage)
        spawned: list[Any] = []

        async def start(context: Any) -> Any:
            assert context.supervisor is boss
            spawned.append(await context.spawn(Idle))
            stage.will("slow", Gate())
            context.spawn(stage.worker("slow").start, stage, "slow")
            raise BROKEN

        starting: Any = staff.start(child(start))
        with pytest.raises(StartFailed) as raised:
            await starting
        assert raised.value.__cause__ is BROKEN
        assert spawned[0].reason == KILLED
        await stage.turns()
        assert list(stage.system.actors.values()) == [boss]
        assert links_of(boss) == []


async def test_what_a_start_function_spawns_beside_its_child_lives_and_dies_with_the_supervisor(
    stage: Any,
) -> None:
    """S35: it is linked, as OTP's ``start_link`` would have it."""
    async with stage:
        boss, staff = await employ(stage)
        helpers: list[Any] = []

        async def start(context: Any) -> Any:
            helpers.append(await context.spawn(Idle))
            return await context.spawn(Idle)

        starting: Any = staff.start(child(start))
        started = await starting
        assert helpers[0].is_alive()
        boss.kill()
        assert await helpers[0].wait_stopped() == KILLED
        assert await started.ref.wait_stopped() == KILLED


async def test_a_spawn_that_fails_fails_the_start_function_with_its_reason(stage: Any) -> None:
    """S9: unless the function makes something else of it."""
    async with stage:
        _, staff = await employ(stage)
        stage.will("a", BROKEN, BROKEN)
        worker = stage.worker("a").start

        async def start(context: Any, *, cope: bool) -> Any:
            try:
                return await context.spawn(worker, stage, "a")
            except StartFailed:
                if cope:
                    return IGNORE
                raise

        starting: Any = staff.start(child(start, id="f", cope=False))
        with pytest.raises(StartFailed) as raised:
            await starting
        assert (raised.value.what, raised.value.reason) == ("f", Crash(BROKEN))
        starting = staff.start(child(start, id="f", cope=True))
        assert await starting is IGNORE


@pytest.mark.parametrize(
    "error", [TimeoutError("own"), asyncio.CancelledError("own"), SystemExit(1)]
)
async def test_whatever_a_start_function_raises_is_only_its_own_failure(
    stage: Any, error: BaseException
) -> None:
    """S9."""
    async with stage:
        _, staff = await employ(stage)

        async def start(_context: Any) -> Any:
            raise error

        starting: Any = staff.start(child(start))
        with pytest.raises(StartFailed) as raised:
            await starting
        assert raised.value.reason == Crash(error)


async def test_a_child_taken_over_while_it_starts_is_waited_for(stage: Any) -> None:
    """S7: a start function may return somebody who is not ready."""
    async with stage:
        _, staff = await employ(stage)
        gate = Gate()
        stage.will("a", gate)
        ref = stage.spawn(stage.worker("a").start, stage, "a")
        starting: Any = staff.start(child(lambda _context: ref))
        task = asyncio.ensure_future(starting)
        await stage.turns()
        assert not task.done()
        gate.release()
        assert (await task).ref is ref


async def test_in_a_hurry_no_start_is_waited_for_any_more(stage: Any) -> None:
    """Those under way are interrupted, those that follow do not get far."""
    async with stage:
        _, staff = await employ(stage)
        gate = Gate()
        stage.will("a", gate, gate)

        async def start(_context: Any) -> Any:
            await gate.wait()

        starting: Any = asyncio.ensure_future(staff.start(stage.worker("a")))  # type: ignore[arg-type]
        await stage.turns()
        staff.hurry()
        later: list[Any] = [staff.start(stage.worker("a")), staff.start(child(start))]
        for one in (starting, *later):
            with pytest.raises(StartFailed) as raised:
                await one
            assert raised.value.reason == SHUTDOWN
        assert isinstance(staff.start(stage.worker("a")), Started)


# ------------------------------------------------------------------------------------------ stop


async def test_a_child_that_is_dead_or_killed_is_down_at_once(stage: Any) -> None:
    """S31."""
    async with stage:
        boss, staff = await employ(stage)
        one: Any = staff.start(stage.worker("a"))
        two: Any = staff.start(stage.worker("b"))
        await stage.end(one.ref, Custom("early"))
        assert staff.stop(one.ref, 5.0) == Custom("early")
        assert staff.stop(two.ref, "brutal_kill") == KILLED
        assert stage.clock.delays == []
        assert links_of(boss) == []


@pytest.mark.parametrize("shutdown", [0, 5.0, None])
async def test_a_child_that_goes_leaves_no_timer(stage: Any, shutdown: Any) -> None:
    """S31."""
    async with stage:
        _, staff = await employ(stage)
        started: Any = staff.start(stage.worker("a"))
        stopping = staff.stop(started.ref, shutdown)
        assert isinstance(stopping, Reply)
        assert stage.clock.delays == ([] if shutdown is None else [shutdown])
        assert await stopping == SHUTDOWN
        assert stage.clock.delays == []


async def test_the_death_of_a_child_that_is_stopped_is_told_by_the_reply_alone(
    stage: Any,
) -> None:
    """S32: the link is cut first."""
    async with stage:
        boss, staff = await employ(stage)
        started: Any = staff.start(stage.worker("a"))
        stopping: Any = staff.stop(started.ref, 5.0)
        await stopping
        assert boss.mailbox_length == 0


def test_the_reason_of_a_failure_that_has_none_of_its_own_is_the_failure() -> None:
    failure = StartFailed("a", "just so")
    assert reason_of(failure) == Crash(failure)
