"""A running dynamic supervisor: children that come and go, all alike and without order."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.signals import NORMAL, SHUTDOWN, Crash, Custom, ExitReason, Shutdown
from puckstream.errors import (
    ChildNotFound,
    InvalidSpec,
    StartFailed,
    TooManyChildren,
)
from puckstream.supervision.child import IGNORE, Backoff, child
from puckstream.supervision.dynamic import DynamicSupervisor
from puckstream.supervision.place import Counts
from puckstream.supervision.supervisor import Supervisor
from puckstream.testing.gate import Gate

BROKEN = RuntimeError("broken")
CRASH = Custom("crash")


class Idle(Actor):
    """Does nothing."""


class Keeps(Actor):
    """Keeps its arguments, for others to look at."""

    def __init__(self, *args: Any) -> None:
        super().__init__()
        self.args = args

    def on_receive(self, message: Any) -> Any:
        return self.args


class Payload:
    """An argument whose life can be watched."""


def refs_of(rows: Any) -> list[Any]:
    return [row.ref for row in rows]


def in_turn(*results: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a start function that does each of these once."""
    left = list(results)

    def start(context: Any) -> Any:
        result = left.pop(0)
        return result(context)

    return start


# ----------------------------------------------------------------------------------- start_child


async def test_a_child_has_started_when_the_call_returns(stage: Any) -> None:
    """S7, S28: any number of one spec, each known by its ref."""
    async with stage:
        supervisor = await stage.dynamic()
        spec = stage.worker("a")
        refs = [await supervisor.start_child(spec) for _ in range(3)]
        assert len(set(refs)) == 3
        gate = Gate()
        stage.will("a", gate)
        starting = supervisor.start_child(spec)
        await stage.turns()
        assert not starting.done
        gate.release()
        refs.append(await starting)
        assert refs_of(await supervisor.which_children()) == refs


@pytest.mark.parametrize("slow", [False, True])
async def test_a_child_that_does_not_start_is_not_kept(stage: Any, slow: bool) -> None:
    """Table of start_child; S41: a failed start takes no place."""
    async with stage:
        supervisor = await stage.dynamic(max_children=1)

        async def start(_context: Any) -> Any:
            raise BROKEN

        stage.will("a", BROKEN)
        with pytest.raises(StartFailed) as raised:
            await supervisor.start_child(child(start) if slow else stage.worker("a"))
        assert raised.value.reason == Crash(BROKEN)
        assert await supervisor.which_children() == ()
        assert await supervisor.start_child(child(lambda _context: IGNORE)) is None
        assert (await supervisor.start_child(Idle)).is_alive()


async def test_info_passes_through(stage: Any) -> None:
    """S9."""
    async with stage:
        supervisor = await stage.dynamic()
        ref, info = await supervisor.start_child(
            child(lambda context: (context.spawn(Idle).get(), "info"))
        )
        assert (refs_of(await supervisor.which_children()), info) == ([ref], "info")


async def test_what_cannot_be_a_child_is_refused_in_the_caller(stage: Any) -> None:
    """S41; S6: nothing can be significant here."""
    async with stage:
        supervisor = await stage.dynamic()
        for item in (7, stage.worker("a", significant=True, restart="temporary")):
            with pytest.raises(InvalidSpec):
                supervisor.start_child(item)


@pytest.mark.parametrize(
    "options",
    [{"intensity": -1}, {"period": 0}, {"max_children": -1}, {"max_children": 1.5}],
)
async def test_impossible_flags_are_refused(stage: Any, options: dict[str, Any]) -> None:
    """S2, S41."""
    async with stage:
        with pytest.raises(StartFailed) as raised:
            stage.spawn(DynamicSupervisor, **options)
        assert isinstance(raised.value.__cause__, InvalidSpec)


@pytest.mark.parametrize("flag", ["strategy", "auto_shutdown", "extra_arguments"])
async def test_a_flag_that_is_not_there_is_refused(stage: Any, flag: str) -> None:
    """S1, S6: no strategy but one_for_one, and no automatic shutdown."""
    async with stage:
        with pytest.raises(StartFailed, match=flag) as raised:
            stage.spawn(DynamicSupervisor, **{flag: "any_significant"})
        assert isinstance(raised.value.__cause__, TypeError)


async def test_extra_args_come_first_at_restarts_too(stage: Any) -> None:
    """S28, S41."""
    async with stage:
        supervisor = await stage.dynamic(extra_args=(1, 2))
        ref = await supervisor.start_child(child(Keeps, 3))
        assert await ref.call("args") == (1, 2, 3)
        await stage.end(ref)
        (again,) = refs_of(await supervisor.which_children())
        assert await again.call("args") == (1, 2, 3)


async def test_a_start_function_gets_the_extra_args_behind_its_context(stage: Any) -> None:
    """S41."""
    async with stage:
        supervisor = await stage.dynamic(extra_args=(1,))
        ref = await supervisor.start_child(
            child(lambda context, *args: context.spawn(Keeps, *args), 2)
        )
        assert await ref.call("args") == (1, 2)


async def test_max_children_counts_those_being_restarted(stage: Any) -> None:
    """S41."""
    async with stage:
        supervisor = await stage.dynamic(max_children=2)
        one = await supervisor.start_child(stage.worker("a", backoff=Backoff(jitter=0)))
        two = await supervisor.start_child(stage.worker("b"))
        with pytest.raises(TooManyChildren):
            await supervisor.start_child(Idle)
        await stage.end(one)
        with pytest.raises(TooManyChildren):
            await supervisor.start_child(Idle)
        await supervisor.terminate_child(two)
        assert (await supervisor.start_child(Idle)).is_alive()
        assert await supervisor.count_children() == Counts(2, 1, 0, 2)


async def test_max_children_0_allows_nobody(stage: Any) -> None:
    """S41, precision."""
    async with stage:
        supervisor = await stage.dynamic(max_children=0)
        with pytest.raises(TooManyChildren):
            await supervisor.start_child(Idle)


async def test_what_a_temporary_child_was_started_with_is_not_kept_alive(stage: Any) -> None:
    """S18."""
    async with stage:
        supervisor = await stage.dynamic()
        payload = Payload()
        watched = weakref.ref(payload)
        ref = await supervisor.start_child(child(Keeps, payload, restart="temporary"))
        del payload
        await ref.call("args")
        ref._actor.args = ()
        gc.collect()
        assert watched() is None


async def test_children_of_one_kind_share_what_is_kept_of_their_specs(stage: Any) -> None:
    """S18."""
    async with stage:
        supervisor = await stage.dynamic()
        for number in range(3):
            await supervisor.start_child(child(Keeps, number, restart="temporary"))
        specs = [row.spec for row in await supervisor.which_children()]
        assert specs[0] is specs[1] is specs[2]


# ------------------------------------------------------------------------------------- child ends


@pytest.mark.parametrize(
    ("restart", "reason", "kept"),
    [
        ("permanent", NORMAL, True),
        ("permanent", CRASH, True),
        ("transient", NORMAL, False),
        ("transient", SHUTDOWN, False),
        ("transient", Shutdown("detail"), False),
        ("transient", CRASH, True),
        ("temporary", NORMAL, False),
        ("temporary", CRASH, False),
    ],
)
async def test_who_is_restarted_and_who_is_gone(
    stage: Any, restart: Any, reason: Any, kept: bool
) -> None:
    """S14, S15: here a transient child that ended is gone too."""
    async with stage:
        supervisor = await stage.dynamic()
        ref = await supervisor.start_child(stage.worker("a", restart=restart))
        other = await supervisor.start_child(stage.worker("b"))
        await stage.end(ref, reason)
        rows = await supervisor.which_children()
        assert other in refs_of(rows)
        assert len(rows) == (2 if kept else 1)
        if kept:
            (row,) = (row for row in rows if row.ref is not other)
            assert (row.ref is not ref, row.restarts) == (True, 1)


async def test_restarts_are_counted_for_each_child(stage: Any) -> None:
    async with stage:
        supervisor = await stage.dynamic()
        ref = await supervisor.start_child(stage.worker("a"))
        await supervisor.start_child(stage.worker("b"))
        for _ in range(3):
            await stage.end(ref)
            rows = await supervisor.which_children()
            (ref,) = (row.ref for row in rows if row.spec.id == "a")
        counts = {row.spec.id: row.restarts for row in await supervisor.which_children()}
        assert counts == {"a": 3, "b": 0}


async def test_too_many_restarts_end_the_supervisor_and_all_children(stage: Any) -> None:
    """S19, S22: one count for all."""
    async with stage:
        supervisor = await stage.dynamic(intensity=1, period=5.0)
        refs = [await supervisor.start_child(stage.worker(name)) for name in "abc"]
        await stage.end(refs[0])
        await supervisor.which_children()
        stage.clock.advance(6.0)
        await stage.end(refs[1])
        await supervisor.which_children()
        await stage.end(refs[2])
        assert await supervisor.wait_stopped() == SHUTDOWN
        assert len(stage.system.actors) == 0
        assert stage.news()[-2:] == ["end a shutdown", "end b shutdown"]


async def test_a_restart_that_fails_is_tried_again_and_requests_are_served_meanwhile(
    stage: Any,
) -> None:
    """S21, S39: the child shows as restarting."""
    async with stage:
        supervisor = await stage.dynamic(intensity=1000)
        ref = await supervisor.start_child(stage.worker("a"))
        stage.will("a", *[BROKEN] * 100)
        await stage.end(ref)
        (row,) = await supervisor.which_children()
        assert (row.ref, row.state) == (None, "restarting")
        assert (await supervisor.start_child(stage.worker("b"))).is_alive()
        assert await supervisor.count_children() == Counts(2, 1, 0, 2)
        await stage.turns()
        rows = await supervisor.which_children()
        assert [row.state for row in rows] == ["running", "running"]
        assert [row.restarts for row in rows if row.spec.id == "a"] == [1]


async def test_restarts_that_keep_failing_end_the_supervisor(stage: Any) -> None:
    """S21, S22."""
    async with stage:
        supervisor = await stage.dynamic(intensity=5)
        ref = await supervisor.start_child(stage.worker("a"))
        stage.will("a", *[BROKEN] * 100)
        await stage.end(ref)
        assert await supervisor.wait_stopped() == SHUTDOWN
        assert len(stage.outcomes["a"]) == 95


@pytest.mark.parametrize("backoff", [None, Backoff()])
async def test_the_old_ref_of_a_restarting_child_still_stands_for_it(
    stage: Any, backoff: Backoff | None
) -> None:
    """Table of terminate_child: the loop is given up."""
    async with stage:
        supervisor = await stage.dynamic(intensity=1000)
        ref = await supervisor.start_child(stage.worker("a", backoff=backoff))
        stage.will("a", *[BROKEN] * 500)
        await stage.end(ref)
        await supervisor.which_children()
        await supervisor.terminate_child(ref)
        left = len(stage.outcomes["a"])
        assert left > 400
        await stage.turns()
        stage.clock.advance(60.0)
        assert await supervisor.count_children() == Counts(0, 0, 0, 0)
        assert len(stage.outcomes["a"]) == left
        with pytest.raises(ChildNotFound):
            await supervisor.terminate_child(ref)


async def test_an_ignored_restart_removes_the_child(stage: Any) -> None:
    """S10."""
    async with stage:
        supervisor = await stage.dynamic()
        results = (lambda context: context.spawn(Idle), lambda _context: IGNORE)
        ref = await supervisor.start_child(child(in_turn(*results)))
        await stage.end(ref)
        assert await supervisor.which_children() == ()


async def test_a_backoff_grows_with_each_crash_until_the_child_has_proved_itself(
    stage: Any,
) -> None:
    """S23: starting again is no proof, ``reset_after`` seconds are."""
    async with stage:
        supervisor = await stage.dynamic()
        backoff = Backoff(min=1.0, max=8.0, jitter=0.0, reset_after=60.0)
        ref = await supervisor.start_child(stage.worker("a", backoff=backoff))
        for delay in (1.0, 2.0, 4.0, 8.0, 8.0):
            await stage.end(ref)
            assert [row.state for row in await supervisor.which_children()] == ["restarting"]
            assert stage.clock.delays == [delay]
            stage.clock.advance(delay)
            (ref,) = refs_of(await supervisor.which_children())
        stage.clock.advance(60.0)
        await stage.end(ref)
        await supervisor.which_children()
        assert stage.clock.delays == [1.0]


async def test_a_burned_out_dynamic_supervisor_is_restarted_empty(stage: Any) -> None:
    """S22, S29."""
    async with stage:
        top = await stage.supervise(child(DynamicSupervisor, id="dynamic", intensity=0))
        before = (await stage.states(top))["dynamic"]
        await stage.end(await before.start_child(stage.worker("a")))
        assert await before.wait_stopped() == SHUTDOWN
        after = (await stage.states(top))["dynamic"]
        assert after is not before
        assert await after.which_children() == ()


async def test_classify_has_the_last_word_on_a_restart(stage: Any) -> None:
    async with stage:

        def opinion(reason: ExitReason) -> Any:
            match reason:
                case Custom(verdict):
                    return verdict
                case _:
                    return "restart"

        supervisor = await stage.dynamic(classify=opinion)
        refs = [await supervisor.start_child(stage.worker(name)) for name in "abc"]
        await stage.end(refs[0], "restart")
        await stage.end(refs[1], "stop")
        rows = await supervisor.which_children()
        assert sorted(row.spec.id for row in rows) == ["a", "c"]
        await stage.end(refs[2], "escalate")
        assert await supervisor.wait_stopped() == Custom("escalate")


async def test_a_classify_that_raises_ends_the_supervisor_in_order(stage: Any) -> None:
    """S55."""
    async with stage:

        def opinion(_reason: ExitReason) -> Any:
            raise BROKEN

        supervisor = await stage.dynamic(classify=opinion)
        refs = [await supervisor.start_child(stage.worker(name)) for name in "ab"]
        await stage.end(refs[0])
        assert await supervisor.wait_stopped() == Crash(BROKEN)
        assert refs[1].reason == SHUTDOWN


# ----------------------------------------------------------------------------------------- reading


async def test_counts_are_of_all_those_running_and_either_type(stage: Any) -> None:
    """Table of count_children: specs are the running and the restarting ones."""
    async with stage:
        supervisor = await stage.dynamic()
        await supervisor.start_child(Supervisor)
        await supervisor.start_child(Idle)
        ref = await supervisor.start_child(stage.worker("a", backoff=Backoff()))
        await stage.end(ref)
        assert await supervisor.count_children() == Counts(3, 2, 1, 2)
        await supervisor.terminate_child(ref)
        assert await supervisor.count_children() == Counts(2, 2, 1, 1)
