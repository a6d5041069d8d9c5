"""A running dynamic supervisor stops one child, or all at once."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN, Custom, Shutdown
from puckstream.errors import (
    ActorDead,
    ChildNotFound,
    InvalidOption,
    StartFailed,
)
from puckstream.supervision.child import child
from puckstream.supervision.place import Counts
from puckstream.testing.gate import Gate

CRASH = Custom("crash")


class Idle(Actor):
    """Does nothing."""


class Stubborn(Actor):
    trap_exit = True

    def __init__(self, reason: Any) -> None:
        super().__init__()
        self.reason = reason

    def on_parent_exit(self, reason: Any) -> bool:
        self.finish(self.reason)
        return False


# ------------------------------------------------------------------------------- terminate_child


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_a_terminated_child_is_gone(stage: Any, restart: Any) -> None:
    """S34, precision: whatever its restart type."""
    async with stage:
        supervisor = await stage.dynamic()
        ref = await supervisor.start_child(stage.worker("a", restart=restart))
        assert await supervisor.terminate_child(ref) is None
        assert ref.reason == SHUTDOWN
        assert await supervisor.which_children() == ()
        with pytest.raises(ChildNotFound):
            await supervisor.terminate_child(ref)


async def test_a_stranger_is_no_child(stage: Any) -> None:
    """Table of terminate_child; an id is no ref, which the caller learns before it is sent."""
    async with stage:
        supervisor = await stage.dynamic()
        stranger = await stage.start(Idle)
        with pytest.raises(ChildNotFound):
            await supervisor.terminate_child(stranger)
        with pytest.raises(InvalidOption, match="ref='id'"):
            supervisor.terminate_child("id")
        assert stranger.is_alive()


async def test_terminate_child_gives_the_child_its_time(stage: Any) -> None:
    """S31, S34."""
    async with stage:
        stage.hold("a")
        supervisor = await stage.dynamic()
        ref = await supervisor.start_child(stage.trapper("a", shutdown=2.0))
        stopped = supervisor.terminate_child(ref)
        await stage.turns()
        assert not stopped.done
        stage.clock.advance(2.0)
        await stopped
        assert ref.reason == KILLED


# ------------------------------------------------------------------------------------------ stop


async def test_all_children_stop_at_once_with_one_timer_for_each_time(stage: Any) -> None:
    """S30."""
    async with stage:
        supervisor = await stage.dynamic()
        times = [2.0, 2.0, 5.0, 5.0, None]
        for number, seconds in enumerate(times):
            stage.hold(number)
            await supervisor.start_child(stage.trapper(number, shutdown=seconds))
        brutal = await supervisor.start_child(stage.trapper("b", shutdown="brutal_kill"))
        stage.news()
        stopped = supervisor.stop(block=False)
        await stage.turns()
        assert sorted(stage.news()) == ["end b killed", *(f"stopping {n}" for n in range(5))]
        assert brutal.reason == KILLED
        assert stage.clock.delays == [2.0, 5.0]
        stage.clock.advance(2.0)
        assert stage.news() == ["end 0 killed", "end 1 killed"]
        stage.gates[2].release()
        await stage.turns()
        assert stage.news() == ["end 2 shutdown"]
        stage.clock.advance(3.0)
        assert stage.news() == ["end 3 killed"]
        assert not stopped.done
        stage.gates[4].release()
        assert await stopped
        assert stage.news() == ["end 4 shutdown"]
        assert stage.clock.delays == []


async def test_a_child_that_died_or_unlinked_or_has_its_own_reason_does_not_hold_up_the_stop(
    stage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """S32, S33."""
    async with stage:
        supervisor = await stage.dynamic()
        a, b = [await supervisor.start_child(stage.worker(name)) for name in "ab"]
        c = await supervisor.start_child(child(Stubborn, CRASH))
        d = await supervisor.start_child(child(Stubborn, Shutdown("done")))
        await stage.start(Idle)
        b._parent = None
        stopped = supervisor.stop(block=False)
        a.kill()
        assert await stopped
        assert [ref.reason for ref in (a, b, c, d)] == [KILLED, SHUTDOWN, CRASH, Shutdown("done")]
        assert supervisor.reason == NORMAL
        # A permanent child of a dynamic supervisor may end with any shutdown, if not normally.
        errors = [line for line in caplog.text.splitlines() if "shutdown error" in line]
        assert len(errors) == 2


async def test_a_supervisor_killed_while_it_stops_leaves_the_timers_to_end_its_children(
    stage: Any,
) -> None:
    """S35: it has unlinked them already, as OTP's has."""
    async with stage:
        stage.hold("a")
        supervisor = await stage.dynamic()
        ref = await supervisor.start_child(stage.trapper("a", shutdown=5.0))
        supervisor.stop(block=False)
        await stage.turns()
        supervisor.kill()
        await stage.turns()
        assert (supervisor.reason, ref.state) == (KILLED, "stopping")
        stage.clock.advance(5.0)
        assert ref.reason == KILLED


async def test_a_killed_supervisors_children_get_the_signal_killed(stage: Any) -> None:
    """S35."""
    async with stage:
        supervisor = await stage.dynamic()
        refs = [await supervisor.start_child(stage.worker(name)) for name in "abc"]
        supervisor.kill()
        assert [await ref.wait_stopped() for ref in refs] == [KILLED] * 3
        with pytest.raises(ActorDead):
            await supervisor.count_children()


@pytest.mark.parametrize("traps", [False, True])
async def test_a_child_that_hangs_in_its_start_does_not_hold_up_a_stop(
    stage: Any, traps: bool
) -> None:
    """Beyond OTP: see the same of the static supervisor."""
    async with stage:
        supervisor = await stage.dynamic()
        stage.will("a", Gate())
        spec = (stage.trapper if traps else stage.worker)("a", shutdown=2.0)
        starting = supervisor.start_child(spec)
        await stage.turns()
        stopped = supervisor.stop(block=False)
        await stage.turns()
        assert stopped.done is not traps
        stage.clock.advance(2.0)
        assert await stopped
        with pytest.raises(StartFailed) as raised:
            await starting
        assert raised.value.reason == (KILLED if traps else SHUTDOWN)
        assert stage.system.actors == {}


async def test_a_child_that_hangs_in_a_handler_does_not_hold_up_a_stop(stage: Any) -> None:
    """S31."""
    async with stage:
        supervisor = await stage.dynamic()
        a = await supervisor.start_child(stage.worker("a"))
        t = await supervisor.start_child(stage.trapper("t", shutdown=2.0))
        for ref in (a, t):
            ref.tell(Gate())
        await stage.turns()
        stopped = supervisor.stop(block=False)
        await stage.turns()
        assert a.reason == SHUTDOWN
        stage.clock.advance(2.0)
        assert await stopped
        assert t.reason == KILLED


async def test_an_empty_supervisor_stops_at_once(stage: Any) -> None:
    async with stage:
        supervisor = await stage.dynamic()
        assert await supervisor.stop(block=False)


# ----------------------------------------------------------------------------------------- scale


async def test_20_000_children_come_and_go_with_a_few_steps_each_and_leave_nothing(
    stage: Any,
) -> None:
    """S30: counted in turns of the actors that take part, not in seconds."""
    async with stage:
        turns = 0
        activate = stage.system._activate

        def counting(ref: Any) -> None:
            nonlocal turns
            turns += 1
            activate(ref)

        stage.system._activate = counting
        supervisor = await stage.dynamic()
        spec = child(Idle, restart="temporary")
        count = 20_000
        refs = [await supervisor.start_child(spec) for _ in range(count)]
        assert turns <= count + 10
        assert await supervisor.count_children() == Counts(count, count, 0, count)
        turns = 0
        await supervisor.stop(block=False)
        assert turns <= count + 10
        assert {ref.reason for ref in refs} == {SHUTDOWN}
        assert stage.system.actors == {}
        assert stage.clock.delays == []
        watched = [weakref.ref(ref) for ref in refs]
        del refs, supervisor
        del stage.system._activate
        gc.collect()
        assert [ref for ref in watched if ref() is not None] == []


async def test_20_000_children_that_end_by_themselves_are_forgotten(stage: Any) -> None:
    """S15."""
    async with stage:
        supervisor = await stage.dynamic()
        spec = child(Idle, restart="temporary")
        refs = [await supervisor.start_child(spec) for _ in range(20_000)]
        for ref in refs:
            ref.exit(SHUTDOWN)
        await refs[-1].wait_stopped()
        assert await supervisor.which_children() == ()
        assert len(stage.system.actors) == 1
        assert not supervisor._extra.links
