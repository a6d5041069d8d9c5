"""A running static supervisor stops: which child, in which order, how long, with which reason."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from puckstream.actors import links
from puckstream.actors.actor import Actor
from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN, Crash, Custom, Shutdown
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import ActorDead, ChildRunning, StartFailed
from puckstream.supervision.child import child
from puckstream.supervision.dynamic import DynamicSupervisor
from puckstream.supervision.place import Counts
from puckstream.supervision.supervisor import Supervisor
from puckstream.testing.gate import Gate

CRASH = Custom("crash")


class Blocked(ThreadActor):
    """Its handler, or its start, blocks until it is let go."""

    def __init__(self, begun: threading.Event, go: threading.Event, *, at_start: bool) -> None:
        super().__init__()
        self.begun, self.go, self.at_start = begun, go, at_start

    def block(self) -> None:
        self.begun.set()
        self.go.wait(10.0)

    def on_start(self) -> None:
        if self.at_start:
            self.block()

    def on_receive(self, message: Any) -> None:
        self.block()


class Stubborn(Actor):
    """Ends with a reason of its own when it is asked to shut down."""

    trap_exit = True

    def __init__(self, reason: Any) -> None:
        super().__init__()
        self.reason = reason

    def on_parent_exit(self, reason: Any) -> bool:
        self.finish(self.reason)
        return False


class Deaf(Actor):
    """Does not go when it is asked to."""

    trap_exit = True

    def on_parent_exit(self, reason: Any) -> bool:
        return False


# ----------------------------------------------------------------------------------------- order


async def test_children_stop_in_reverse_each_fully_down_before_the_next(stage: Any) -> None:
    """S30."""
    async with stage:
        for name in "abc":
            stage.hold(name)
        supervisor = await stage.supervise(*(stage.trapper(name) for name in "abc"))
        stage.news()
        stopped = supervisor.stop(block=False)
        for name in "cba":
            await stage.turns()
            assert stage.news() == [f"stopping {name}"]
            stage.gates[name].release()
            await stage.turns()
            assert stage.journal.pop(0) == f"end {name} shutdown"
        assert await stopped
        assert supervisor.reason == NORMAL
        assert stage.clock.delays == []


async def test_the_order_is_that_of_the_list_not_of_the_latest_start(stage: Any) -> None:
    """S24, S30: a restart keeps a child's place."""
    async with stage:
        supervisor = await stage.supervise(*stage.workers("abc"))
        await stage.end((await stage.states(supervisor))["a"])
        await supervisor.which_children()
        stage.news()
        await supervisor.stop(block=False)
        assert stage.news() == ["end c shutdown", "end b shutdown", "end a shutdown"]


async def test_queued_messages_of_a_child_do_not_delay_its_shutdown(stage: Any) -> None:
    """S31, S55: an untrapped signal goes ahead of them, and a trapped one behind."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"), stage.trapper("t"))
        refs = await stage.states(supervisor)
        error, gate = RuntimeError("handled by t only"), Gate()
        refs["a"].tell(Gate())
        refs["t"].tell(gate)
        for ref in refs.values():
            ref.tell(error)
        await stage.turns()
        stopped = supervisor.stop(block=False)
        gate.release()
        await stopped
        assert refs["a"].reason == SHUTDOWN
        assert refs["t"].reason == Crash(error)


# ------------------------------------------------------------------------------------------ times


async def test_brutal_kill_does_not_ask(stage: Any) -> None:
    """S31: the child's reason is killed, and its ``on_stop`` does not run."""
    async with stage:
        supervisor = await stage.supervise(stage.trapper("a", shutdown="brutal_kill"))
        ref = (await stage.states(supervisor))["a"]
        await supervisor.stop(block=False)
        assert ref.reason == KILLED
        assert stage.news() == ["start a", "end a killed"]


async def test_a_child_that_does_not_end_in_its_time_is_killed(stage: Any) -> None:
    """S31: not before."""
    async with stage:
        stage.hold("b")
        supervisor = await stage.supervise(stage.worker("a"), stage.trapper("b", shutdown=3.0))
        stopped = supervisor.stop(block=False)
        await stage.turns()
        stage.clock.advance(2.9)
        await stage.turns()
        assert not stopped.done
        stage.clock.advance(0.1)
        assert await stopped
        assert stage.news()[2:] == ["stopping b", "end b killed", "end a shutdown"]


async def test_a_child_without_limit_is_waited_for_as_long_as_it_takes(stage: Any) -> None:
    """S31: ``infinity``."""
    async with stage:
        gate = stage.hold("a")
        supervisor = await stage.supervise(stage.trapper("a", shutdown=None))
        stopped = supervisor.stop(block=False)
        await stage.turns()
        assert stage.clock.delays == []
        stage.clock.advance(1e9)
        await stage.turns()
        assert not stopped.done
        gate.release()
        assert await stopped
        assert stage.news()[-1] == "end a shutdown"


@pytest.mark.parametrize(("held", "reason"), [(True, "killed"), (False, "shutdown")])
async def test_no_time_at_all_is_a_time(stage: Any, held: bool, reason: str) -> None:
    """S31: it is asked, and killed at the next chance."""
    async with stage:
        if held:
            stage.hold("a")
        supervisor = await stage.supervise(stage.trapper("a", shutdown=0))
        stopped = supervisor.stop(block=False)
        await stage.turns()
        assert stage.clock.delays == ([0] if held else [])
        stage.clock.advance(0)
        assert await stopped
        assert stage.news()[-1] == f"end a {reason}"


# ------------------------------------------------------------------------------- unruly children


async def test_a_child_that_unlinked_itself_is_stopped_all_the_same(stage: Any) -> None:
    """S32: its death is what is waited for."""
    async with stage:
        gate = stage.hold("a")
        supervisor = await stage.supervise(stage.trapper("a"))
        ref = (await stage.states(supervisor))["a"]
        links.unlink(ref, supervisor)
        stopped = supervisor.stop(block=False)
        await stage.turns()
        assert not stopped.done
        gate.release()
        assert await stopped
        assert ref.reason == SHUTDOWN


async def test_the_end_of_a_child_that_unlinked_itself_is_not_noticed(stage: Any) -> None:
    """S32, precision: terminate_child says ok."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))
        ref = (await stage.states(supervisor))["a"]
        links.unlink(ref, supervisor)
        await stage.end(ref)
        assert await stage.states(supervisor) == {"a": ref}
        assert await supervisor.count_children() == Counts(1, 0, 0, 1)
        with pytest.raises(ChildRunning):
            await supervisor.restart_child("a")
        await supervisor.terminate_child("a")
        assert (await supervisor.restart_child("a")).is_alive()


@pytest.mark.parametrize("restart", ["permanent", "transient"])
@pytest.mark.parametrize(
    ("reason", "errors"),
    [
        (NORMAL, {"permanent": True, "transient": False}),
        (SHUTDOWN, {"permanent": False, "transient": False}),
        (CRASH, {"permanent": True, "transient": True}),
    ],
)
async def test_a_child_that_ends_for_another_reason_is_reported_and_changes_nothing(
    stage: Any,
    caplog: pytest.LogCaptureFixture,
    restart: Any,
    reason: Any,
    errors: dict[str, bool],
) -> None:
    """S33."""
    caplog.set_level("INFO", "puckstream.supervision")
    async with stage:
        supervisor = await stage.supervise(
            stage.worker("a"), child(Stubborn, reason, id="b", restart=restart)
        )
        ref = (await stage.states(supervisor))["b"]
        assert await supervisor.stop(block=False)
        assert (ref.reason, supervisor.reason) == (reason, NORMAL)
        assert ("shutdown error" in caplog.text) is errors[restart]


async def test_a_child_that_is_dead_when_its_turn_comes_does_not_hang_the_stop(
    stage: Any,
) -> None:
    """S33: ``sup_stop_race``."""
    async with stage:
        gate = stage.hold("b")
        supervisor = await stage.supervise(stage.worker("a"), stage.trapper("b"))
        a = (await stage.states(supervisor))["a"]
        stopped = supervisor.stop(block=False)
        await stage.turns()
        await stage.end(a)
        gate.release()
        assert await stopped


async def test_a_child_that_refuses_to_go_is_killed_in_the_end(stage: Any) -> None:
    """S31, S33."""
    async with stage:
        supervisor = await stage.supervise(child(Deaf, shutdown=1.0))
        stopped = supervisor.stop(block=False)
        await stage.turns()
        stage.clock.advance(1.0)
        assert await stopped


async def test_a_child_that_is_ending_already_is_waited_for(stage: Any) -> None:
    """S33: it keeps the reason it had."""
    async with stage:
        gate = stage.hold("a")
        supervisor = await stage.supervise(stage.trapper("a"))
        ref = (await stage.states(supervisor))["a"]
        ref.stop(block=False)
        await stage.turns()
        assert ref.state == "stopping"
        stopped = supervisor.stop(block=False)
        gate.release()
        assert await stopped
        assert ref.reason == NORMAL


# ------------------------------------------------------------------------------- hanging children


async def test_a_child_that_hangs_in_a_handler_is_interrupted(stage: Any) -> None:
    """S31: if it does not trap exits; else its time decides."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"), stage.trapper("t", shutdown=2.0))
        refs = await stage.states(supervisor)
        for ref in refs.values():
            ref.tell(Gate())
        await stage.turns()
        assert [ref.state for ref in refs.values()] == ["waiting", "waiting"]
        stage.news()
        stopped = supervisor.stop(block=False)
        await stage.turns()
        assert not stopped.done
        stage.clock.advance(2.0)
        assert await stopped
        assert stage.news() == ["end t killed", "end a shutdown"]


@pytest.mark.parametrize("how", ["stop", "exit"])
async def test_a_child_that_hangs_in_its_first_start_does_not_hold_up_a_stop(
    stage: Any, how: str
) -> None:
    """Beyond OTP, whose supervisor waits for the start: no start is waited for any more."""
    async with stage:
        stage.will("b", Gate())
        supervisor = stage.spawn(Supervisor, stage.workers("abc"))
        await stage.turns()
        assert stage.news() == ["start a", "begin b"]
        if how == "stop":
            supervisor.stop(block=False)
        else:
            supervisor.exit(SHUTDOWN)
        with pytest.raises(StartFailed) as raised:
            await supervisor._extra.started
        assert isinstance(supervisor.reason, Shutdown)
        assert raised.value.reason is supervisor.reason
        assert stage.news() == ["end b shutdown", "end a shutdown"]


async def test_a_child_that_hangs_in_its_restart_does_not_hold_up_a_stop(stage: Any) -> None:
    """As above, with a child that traps exits: it is killed when its time is over."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"), stage.trapper("b", shutdown=2.0))
        stage.will("b", Gate())
        await stage.end((await stage.states(supervisor))["b"], "kill")
        await stage.turns()
        assert stage.news()[-1] == "begin b"
        stopped = supervisor.stop(block=False)
        await stage.turns()
        assert not stopped.done
        stage.clock.advance(2.0)
        assert await stopped
        assert stage.news() == ["end b killed", "end a shutdown"]


async def test_a_start_function_that_hangs_does_not_hold_up_a_stop(stage: Any) -> None:
    """As above; what it has spawned goes with it."""
    async with stage:
        gate, spawned, cancelled = Gate(), [], []

        async def start(context: Any) -> Any:
            spawned.append(await context.spawn(stage.worker("b").start, stage, "b"))
            try:
                await gate.wait()
            finally:
                cancelled.append(True)

        supervisor = stage.spawn(Supervisor, [stage.worker("a"), child(start)])
        await stage.turns()
        supervisor.exit(SHUTDOWN)
        assert (await supervisor.wait_stopped()).expected
        assert cancelled == [True]
        assert spawned[0].reason == KILLED
        assert stage.news() == ["start a", "start b", "end b killed", "end a shutdown"]


async def test_members_yet_to_start_do_not_hold_up_a_stop_either(stage: Any) -> None:
    """As above: the stop is asked for while the group is being stopped for its restart."""
    async with stage:
        held = stage.hold("b")
        supervisor = await stage.supervise(
            stage.worker("a"), stage.trapper("b"), strategy="one_for_all"
        )
        stage.will("a", Gate())
        await stage.end((await stage.states(supervisor))["a"])
        await stage.turns()
        assert stage.news()[-1] == "stopping b"
        stopped = supervisor.stop(block=False)
        held.release()
        assert await stopped
        assert stage.news() == ["end b shutdown", "begin a", "end a shutdown"]


async def test_a_hanging_start_deep_in_the_tree_does_not_hold_up_a_stop(stage: Any) -> None:
    """As above: every supervisor on the way is told."""
    async with stage:
        stage.will("b", Gate())
        inner = child(Supervisor, stage.workers("ab"), id="inner")
        top = stage.spawn(Supervisor, [stage.worker("z"), inner])
        await stage.turns()
        top.exit(SHUTDOWN)
        await top.wait_stopped()
        assert stage.news()[3:] == ["end b shutdown", "end a shutdown", "end z shutdown"]


async def test_killing_a_supervisor_that_waits_for_a_start_takes_the_child_along(
    stage: Any,
) -> None:
    """S35: a child is linked before it starts."""
    async with stage:
        stage.will("b", Gate())
        supervisor = stage.spawn(Supervisor, stage.workers("ab"))
        await stage.turns()
        supervisor.kill()
        await stage.turns()
        assert stage.system.actors == {}
        assert sorted(stage.news()[2:]) == ["end a killed", "end b killed"]


# ---------------------------------------------------------------------------------------- threads


@pytest.mark.parametrize("at_start", [True, False])
async def test_a_thread_that_blocks_is_given_up_when_its_time_is_over(
    stage: Any, at_start: bool
) -> None:
    """S31, S32: it is counted as a zombie until it returns."""
    async with stage:
        begun, go = threading.Event(), threading.Event()
        supervisor = await stage.supervise(stage.worker("a"))
        starting = supervisor.start_child(
            child(Blocked, begun, go, at_start=at_start, id="b", shutdown=2.0)
        )
        if not at_start:
            ref = await starting
            ref.tell("block")
        await stage.system.run_in_thread(begun.wait)
        stopped = supervisor.stop(block=False)
        await stage.turns()
        assert not stopped.done
        stage.clock.advance(2.0)
        assert await stopped
        assert stage.news() == ["start a", "end a shutdown"]
        assert len(stage.system.zombies) == 1
        if at_start:
            with pytest.raises((StartFailed, ActorDead)):
                await starting
        go.set()


async def test_an_idle_thread_ends_when_it_is_asked(stage: Any) -> None:
    """S31."""
    async with stage:
        begun, go = threading.Event(), threading.Event()
        supervisor = await stage.supervise(
            child(Blocked, begun, go, at_start=False, id="b", shutdown=2.0)
        )
        ref = (await stage.states(supervisor))["b"]
        await supervisor.stop(block=False)
        assert ref.reason == SHUTDOWN
        assert stage.clock.delays == []


# -------------------------------------------------------------------------------- nothing remains


async def test_a_stopped_tree_leaves_no_actor_timer_or_link(stage: Any) -> None:
    """S30."""
    async with stage:
        dynamic = child(DynamicSupervisor, id="dynamic")
        inner = child(Supervisor, stage.workers("bc"), id="inner")
        supervisor = await stage.supervise(stage.worker("a"), inner, dynamic)
        await (await stage.states(supervisor))["dynamic"].start_child(stage.worker("d"))
        await supervisor.stop(block=False)
        assert stage.system.actors == {}
        assert stage.clock.delays == []
        with pytest.raises(ActorDead):
            await supervisor.which_children()
