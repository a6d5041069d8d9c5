"""A running static supervisor starts: which child, in which order, and what a start may come to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.registry import Registry
from puckstream.actors.signals import (
    Crash,
    Custom,
    Shutdown,
)
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import InvalidSpec, NameTaken, StartFailed
from puckstream.supervision.child import IGNORE, ChildSpec, child
from puckstream.supervision.supervisor import Supervisor
from puckstream.testing.gate import Gate

BROKEN = RuntimeError("broken")


class Idle(Actor):
    """Does nothing."""


class Threaded(ThreadActor):
    def __init__(self, journal: list[str]) -> None:
        super().__init__()
        self.journal = journal

    def on_start(self) -> None:
        self.journal.append("threaded")


def in_turn(*results: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a start function that does each of these once."""
    left = list(results)

    def start(context: Any) -> Any:
        result = left.pop(0)
        return result(context)

    return start


# ----------------------------------------------------------------------------------------- start


async def test_children_start_in_order_each_after_the_one_before_has_started(stage: Any) -> None:
    """S7, S8: with sync and async ``on_start`` in one list."""
    async with stage:
        gate = Gate()
        stage.will("b", gate)
        supervisor = stage.spawn(Supervisor, stage.workers("abc"))
        await stage.turns()
        assert stage.news() == ["start a", "begin b"]
        assert supervisor.state == "starting"
        gate.release()
        assert await supervisor._extra.started is supervisor
        assert stage.news() == ["start b", "start c"]
        assert list(await stage.states(supervisor)) == ["a", "b", "c"]


async def test_a_supervisor_of_children_that_start_at_once_is_running_when_spawned(
    stage: Any,
) -> None:
    """S7: no turn of the loop is needed for it."""
    async with stage:
        supervisor = stage.spawn(Supervisor, stage.workers("abc"))
        assert (supervisor.state, stage.news()) == ("idle", ["start a", "start b", "start c"])


async def test_a_supervisor_of_nobody_starts(stage: Any) -> None:
    async with stage:
        assert await (await stage.supervise()).which_children() == ()


async def test_a_threads_start_is_waited_for_too(stage: Any) -> None:
    """S7, S8: a ThreadActor's ``on_start`` runs in its thread."""
    async with stage:
        supervisor = await stage.supervise(child(Threaded, stage.journal), stage.worker("b"))
        assert stage.news() == ["threaded", "start b"]
        await supervisor.stop(block=False)


@pytest.mark.parametrize("slow", [False, True])
async def test_a_child_that_does_not_start_ends_those_before_it_in_reverse_and_the_supervisor(
    stage: Any, slow: bool
) -> None:
    """S11: with ``shutdown``; StartFailed says which child and why."""
    async with stage:
        if slow:
            gate = Gate(open=True)
            stage.will("b", gate)
        stage.will("c", BROKEN)
        supervisor = stage.spawn(Supervisor, stage.workers("abcd"))
        with pytest.raises(StartFailed) as raised:
            await supervisor._extra.started
        assert supervisor.state == "dead"
        journal = [line for line in stage.news() if line != "begin b"]
        assert journal == [
            "start a",
            "start b",
            "fail c",
            "end b shutdown",
            "end a shutdown",
        ]
        assert stage.system.actors == {}
        reason, cause = raised.value.reason, raised.value.__cause__
        assert isinstance(cause, StartFailed)
        assert reason == supervisor.reason == Shutdown(cause)
        assert cause.reason == Crash(BROKEN)
        assert cause.__cause__ is BROKEN


async def test_a_child_that_hangs_in_its_stop_holds_the_unwinding_up_until_its_time_is_over(
    stage: Any,
) -> None:
    """S11, S31: the unwinding stops children as every other stop does."""
    async with stage:
        stage.hold("a")
        stage.will("b", BROKEN)
        supervisor = stage.spawn(Supervisor, [stage.trapper("a", shutdown=2.0), stage.worker("b")])
        await stage.turns()
        assert stage.news() == ["start a", "fail b", "stopping a"]
        assert supervisor.state == "starting"
        stage.clock.advance(2.0)
        with pytest.raises(StartFailed):
            await supervisor._extra.started
        assert stage.news() == ["end a killed"]


@pytest.mark.parametrize(
    "flags",
    [
        {"strategy": "all"},
        {"intensity": -1},
        {"intensity": float("inf")},
        {"period": 0},
        {"auto_shutdown": "sometimes"},
    ],
)
async def test_an_impossible_flag_is_refused_in_the_caller_and_nothing_starts(
    stage: Any, flags: dict[str, Any]
) -> None:
    """S2."""
    async with stage:
        with pytest.raises(InvalidSpec):
            Supervisor(stage.workers("a"), **flags)
        with pytest.raises(StartFailed):
            stage.spawn(Supervisor, stage.workers("a"), **flags)
        assert stage.news() == []


class Unbuilt(Supervisor):
    def __init__(self) -> None:
        raise BROKEN


class Unstarted(Supervisor):
    """Raises when its children run."""

    def on_start(self) -> Any:
        super().on_start()
        raise BROKEN


@pytest.mark.parametrize("supervised", [False, True])
@pytest.mark.parametrize("broken", [Unbuilt, Unstarted])
async def test_a_supervisor_whose_own_code_raises_has_not_started(
    stage: Any, supervised: bool, broken: Any
) -> None:
    """S12: the reason is the exception, and nobody is left behind."""
    async with stage:
        spec = child(broken, *(() if broken is Unbuilt else (stage.workers("ab"),)))
        top = await stage.supervise()
        starting = top.start_child(spec) if supervised else stage.start(broken, *spec.args)
        with pytest.raises(StartFailed) as raised:
            await starting
        assert raised.value.reason == Crash(BROKEN)
        assert raised.value.__cause__ is BROKEN
        await stage.turns()
        ends = [line.split(":")[0] for line in stage.news()]
        assert ends == (
            [] if broken is Unbuilt else ["start a", "start b", "end a crash", "end b crash"]
        )
        assert list(stage.system.actors.values()) == [top]


async def test_a_supervisor_can_be_left_out_by_a_start_function(stage: Any) -> None:
    """S12: its own start cannot be ignored by itself."""
    async with stage:
        top = await stage.supervise(child(lambda _context: IGNORE, id="inner", type="supervisor"))
        assert await stage.states(top) == {"inner": "stopped"}
        assert (await top.count_children()).supervisors == 1


async def test_two_children_of_one_id_are_refused(stage: Any) -> None:
    """S4, S5."""
    async with stage:
        with pytest.raises(StartFailed) as raised:
            stage.spawn(Supervisor, [stage.worker("a"), stage.worker("a")])
        assert isinstance(raised.value.__cause__, InvalidSpec)


async def test_an_exit_that_comes_while_others_start_is_decided_afterwards(stage: Any) -> None:
    """S7, S8: one thing at a time."""
    async with stage:
        gate = Gate()
        stage.will("b", gate)
        supervisor = stage.spawn(Supervisor, stage.workers("ab"), intensity=5)
        await stage.turns()
        a = next(ref for ref in stage.system.actors.values() if ref is not supervisor)
        await stage.end(a)
        await stage.turns()
        assert stage.news() == ["start a", "begin b", "end a crash"]
        gate.release()
        await supervisor._extra.started
        assert (await stage.states(supervisor))["a"] is not a
        assert stage.news() == ["start b", "start a"]


# --------------------------------------------------------------------------------------- results


def by_function(stage: Any, result: Callable[..., Any], **options: Any) -> ChildSpec:
    def start(context: Any) -> Any:
        return result(context)

    async def start_async(context: Any) -> Any:
        return result(context)

    return child(start_async if options.pop("is_async", False) else start, id="f", **options)


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_start_function_may_return_a_ref(stage: Any, is_async: bool) -> None:
    """S9: the child is linked to the supervisor, and restarted by the same function."""
    async with stage:
        spec = child(stage_function(is_async), stage, id="f")
        supervisor = await stage.supervise(spec)
        ref = (await stage.states(supervisor))["f"]
        await stage.end(ref)
        again = (await stage.states(supervisor))["f"]
        assert (again is not ref, again.is_alive()) == (True, True)
        assert stage.news() == ["start f", "end f crash", "start f"]


def stage_function(is_async: bool) -> Callable[..., Any]:
    def start(context: Any, stage: Any) -> Any:
        return context.spawn(stage.worker("f").start, stage, "f").get()

    async def start_async(context: Any, stage: Any) -> Any:
        return await context.spawn(stage.worker("f").start, stage, "f")

    return start_async if is_async else start


async def test_a_start_function_may_return_the_reply_of_its_spawn(stage: Any) -> None:
    """S9: it is awaited, and so is an ``on_start`` that takes its time."""
    async with stage:
        gate = Gate()
        stage.will("f", gate)
        start = stage.worker("f").start
        spec = child(lambda context: context.spawn(start, stage, "f"), id="f")
        supervisor = stage.spawn(Supervisor, [spec])
        await stage.turns()
        assert (supervisor.state, stage.news()) == ("starting", ["begin f"])
        gate.release()
        await supervisor._extra.started
        assert (await stage.states(supervisor))["f"].is_alive()


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_ref_with_info_is_a_child_and_the_info_passes_through(
    stage: Any, is_async: bool
) -> None:
    """S9: at start_child and restart_child; the supervisor itself does not care."""
    async with stage:
        supervisor = await stage.supervise()
        spec = by_function(
            stage, lambda context: (context.spawn(Idle).get(), "info"), is_async=is_async
        )
        ref, info = await supervisor.start_child(spec)
        assert (info, await stage.states(supervisor)) == ("info", {"f": ref})
        await supervisor.terminate_child("f")
        again, info = await supervisor.restart_child("f")
        assert (info, again is ref) == ("info", False)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("restart", "kept"), [("permanent", True), ("temporary", False)])
async def test_an_ignored_start_is_no_failure_and_keeps_the_spec_unless_temporary(
    stage: Any, is_async: bool, restart: Any, kept: bool
) -> None:
    """S10."""
    async with stage:
        spec = by_function(stage, lambda _context: IGNORE, is_async=is_async, restart=restart)
        supervisor = await stage.supervise(spec, stage.worker("b"))
        assert stage.news() == ["start b"]
        found = await stage.states(supervisor)
        assert found.get("f") == ("stopped" if kept else None)
        if kept:
            assert await supervisor.restart_child("f") is None


async def test_an_ignored_restart_leaves_the_child_down_and_is_not_tried_again(
    stage: Any,
) -> None:
    """S10: on restart."""
    async with stage:
        results = (lambda context: context.spawn(Idle), lambda _context: IGNORE)
        spec = by_function(stage, in_turn(*results))
        supervisor = await stage.supervise(spec)
        await stage.end((await stage.states(supervisor))["f"])
        assert await stage.states(supervisor) == {"f": "stopped"}


def raises(_context: Any) -> Any:
    raise BROKEN


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("result", "says"),
    [
        (lambda _context: None, "None"),
        (lambda _context: ("junk", 1), "junk"),
        (lambda _context: Idle, "Idle"),
        (raises, "broken"),
    ],
)
async def test_whatever_else_a_start_function_returns_or_raises_is_a_failed_start(
    stage: Any, is_async: bool, result: Callable[..., Any], says: str
) -> None:
    """S9."""
    async with stage:
        supervisor = await stage.supervise()
        with pytest.raises(StartFailed, match=says) as raised:
            await supervisor.start_child(by_function(stage, result, is_async=is_async))
        assert isinstance(raised.value.reason, Crash)
        assert raised.value.what == "f"
        assert await supervisor.which_children() == ()


async def test_a_ref_that_is_dead_already_is_a_failed_start_with_its_reason(stage: Any) -> None:
    """S9."""
    async with stage:
        dead = await stage.start(Idle)
        await stage.end(dead, Custom("early"))
        supervisor = await stage.supervise()
        with pytest.raises(StartFailed) as raised:
            await supervisor.start_child(by_function(stage, lambda _context: dead))
        assert raised.value.reason == Custom("early")


class EndsItself(Actor):
    """Exits in its own start."""

    def __init__(self, pause: Gate | None = None) -> None:
        super().__init__()
        self.pause = pause

    def on_start(self) -> Any:
        return self.end() if self.pause is None else self.end_later(self.pause)

    def end(self) -> None:
        self.exit(Custom("enough"))

    async def end_later(self, pause: Gate) -> None:
        await pause.wait()
        self.end()


@pytest.mark.parametrize("pause", [None, Gate(open=True)])
async def test_a_child_that_exits_in_its_start_has_not_started(
    stage: Any, pause: Gate | None
) -> None:
    """S9, S11: OTP's ``exit`` in ``init``."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))
        with pytest.raises(StartFailed) as raised:
            await supervisor.start_child(child(EndsItself, pause))
        assert raised.value.reason == Custom("enough")
        assert list(await stage.states(supervisor)) == ["a"]


class ExitsProgram(Actor):
    def __init__(self) -> None:
        raise SystemExit(3)


async def test_a_constructor_that_would_end_the_program_only_fails_to_start(stage: Any) -> None:
    """S9."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))
        with pytest.raises(StartFailed) as raised:
            await supervisor.start_child(ExitsProgram)
        assert isinstance(raised.value.__cause__, SystemExit)
        assert list(await stage.states(supervisor)) == ["a"]


# ----------------------------------------------------------------------------------------- names


async def named(stage: Any) -> Registry:
    registry = stage.system.names = Registry(system=stage.system)
    await stage.start(*registry.actor())
    return registry


async def test_a_child_is_registered_under_its_name_and_so_is_its_successor(stage: Any) -> None:
    """S13, S48: the name is free again before the restart."""
    async with stage:
        registry = await named(stage)
        supervisor = await stage.supervise(stage.worker("a", name="alice"))
        ref = registry.whereis("alice")
        assert ref is (await stage.states(supervisor))["a"]
        await stage.end(ref)
        again = (await stage.states(supervisor))["a"]
        assert again is not ref
        assert registry.whereis("alice") is again


@pytest.mark.parametrize("function", [False, True])
async def test_a_child_whose_name_is_taken_does_not_start(stage: Any, function: bool) -> None:
    """S13, S48, table of start_child: the caller gets the error itself, which says who has the
    name; nothing of the child remains."""
    async with stage:
        registry = await named(stage)
        holder = await stage.start(Idle)
        await registry.register("alice", holder)
        supervisor = await stage.supervise()
        spec = stage.worker("a", name="alice")
        if function:
            spec = by_function(stage, lambda context: context.spawn(Idle), name="alice")
        before = set(stage.system.actors)
        with pytest.raises(NameTaken) as raised:
            await supervisor.start_child(spec)
        assert (raised.value.name, raised.value.holder) == ("alice", holder)
        assert set(stage.system.actors) == before
        assert await supervisor.which_children() == ()
        await stage.end(holder)
        assert await supervisor.start_child(spec) is registry.whereis("alice")


async def test_the_name_of_a_child_that_failed_to_start_is_free_at_once(stage: Any) -> None:
    """S48."""
    async with stage:
        registry = await named(stage)
        supervisor = await stage.supervise()
        stage.will("a", BROKEN)
        with pytest.raises(StartFailed):
            await supervisor.start_child(stage.worker("a", name="alice"))
        assert registry.whereis("alice") is None
        ref = await supervisor.start_child(stage.worker("a", name="alice"))
        assert registry.whereis("alice") is ref
