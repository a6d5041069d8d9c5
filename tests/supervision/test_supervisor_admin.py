"""A running static supervisor's admin calls: every call and every outcome."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.signals import NORMAL, Custom
from puckstream.errors import (
    ActorDead,
    ChildNotFound,
    ChildPresent,
    ChildRestarting,
    ChildRunning,
    InvalidSpec,
    StartFailed,
)
from puckstream.supervision import handle
from puckstream.supervision.child import IGNORE, ChildSpec, child
from puckstream.supervision.place import Counts
from puckstream.supervision.supervisor import Supervisor
from puckstream.testing.gate import Gate

BROKEN = RuntimeError("broken")


class Component:
    """Offers its own spec."""

    @classmethod
    def child_spec(cls) -> ChildSpec:
        return child(Idle, id="component")


class Idle(Actor):
    """Does nothing."""


# ----------------------------------------------------------------------------------- start_child


async def test_a_child_can_be_given_as_a_spec_a_class_or_a_component(stage: Any) -> None:
    async with stage:
        supervisor = await stage.supervise()
        refs = [await supervisor.start_child(item) for item in (stage.worker("a"), Idle, Component)]
        assert await stage.states(supervisor) == dict(
            zip(["a", "Idle", "component"], refs, strict=True)
        )


async def test_what_is_no_spec_is_refused_in_the_caller(stage: Any) -> None:
    """S5, S41: before the supervisor is asked."""
    async with stage:
        supervisor = await stage.supervise()
        with pytest.raises(InvalidSpec):
            supervisor.start_child(5)
        assert await supervisor.which_children() == ()


async def test_a_significant_child_is_refused_where_it_means_nothing(stage: Any) -> None:
    """S4, S36: permanent, or under a supervisor that never shuts down for it."""
    async with stage:
        never = await stage.supervise()
        some = await stage.supervise(auto_shutdown="any_significant")
        with pytest.raises(InvalidSpec):
            await never.start_child(stage.worker("a", significant=True, restart="transient"))
        with pytest.raises(InvalidSpec):
            await some.start_child(stage.worker("a", significant=True))
        assert (await some.start_child(stage.worker("a"))).is_alive()
        assert await stage.states(never) == {}


async def test_a_new_child_starts_behind_the_others_and_the_caller_waits_for_its_start(
    stage: Any,
) -> None:
    """S7, S8."""
    async with stage:
        gate = Gate()
        supervisor = await stage.supervise(stage.worker("a"))
        stage.will("b", gate)
        starting = supervisor.start_child(stage.worker("b"))
        await stage.turns()
        assert not starting.done
        gate.release()
        ref = await starting
        assert list((await stage.states(supervisor)).items())[1] == ("b", ref)


async def test_an_id_that_runs_or_is_known_cannot_be_started_again(stage: Any) -> None:
    """Table of start_child: already_started, already_present."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))
        ref = (await stage.states(supervisor))["a"]
        with pytest.raises(ChildRunning) as raised:
            await supervisor.start_child(stage.worker("a"))
        assert raised.value.ref is ref
        await supervisor.terminate_child("a")
        with pytest.raises(ChildPresent):
            await supervisor.start_child(stage.worker("a"))
        await supervisor.delete_child("a")
        assert (await supervisor.start_child(stage.worker("a"))).is_alive()


@pytest.mark.parametrize("slow", [False, True])
async def test_a_child_that_does_not_start_is_not_kept_and_the_caller_learns_why(
    stage: Any, slow: bool
) -> None:
    """Table of start_child."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))

        class Broken(Actor):
            def on_start(self) -> Any:
                return self.fail() if slow else raise_broken()

            async def fail(self) -> None:
                await Gate(open=True).wait()
                raise_broken()

        with pytest.raises(StartFailed, match="broken") as raised:
            await supervisor.start_child(Broken)
        assert raised.value.__cause__ is BROKEN
        assert list(await stage.states(supervisor)) == ["a"]
        assert len(stage.system.actors) == 2


def raise_broken() -> None:
    raise BROKEN


async def test_an_ignored_child_answers_none_and_its_spec_is_kept(stage: Any) -> None:
    """S10."""
    async with stage:
        supervisor = await stage.supervise()
        assert await supervisor.start_child(child(lambda _context: IGNORE, id="f")) is None
        assert await stage.states(supervisor) == {"f": "stopped"}


# ------------------------------------------------------------------------------- terminate_child


async def test_a_terminated_child_stays_down_and_known(stage: Any) -> None:
    """S34: it triggers no restart; a second call is as good as the first."""
    async with stage:
        supervisor = await stage.supervise(*stage.workers("ab"), strategy="one_for_all")
        refs = await stage.states(supervisor)
        for _ in range(2):
            assert await supervisor.terminate_child("a") is None
            assert await stage.states(supervisor) == {"a": "stopped", "b": refs["b"]}
        assert stage.news() == ["start a", "start b", "end a shutdown"]
        assert (await supervisor.tree()).restarts_in_window == 0


async def test_a_terminated_temporary_child_is_gone(stage: Any) -> None:
    """S34, precision."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a", restart="temporary"))
        await supervisor.terminate_child("a")
        with pytest.raises(ChildNotFound):
            await supervisor.terminate_child("a")


async def test_terminate_child_gives_the_child_its_time(stage: Any) -> None:
    """S34: the same protocol as at the supervisor's own end."""
    async with stage:
        stage.hold("a")
        supervisor = await stage.supervise(stage.trapper("a", shutdown=2.0))
        stopped = supervisor.terminate_child("a")
        await stage.turns()
        assert not stopped.done
        stage.clock.advance(2.0)
        await stopped
        assert stage.news() == ["start a", "stopping a", "end a killed"]


async def test_a_ref_is_no_id(stage: Any) -> None:
    """Table of terminate_child."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))
        ref = (await stage.states(supervisor))["a"]
        with pytest.raises(ChildNotFound):
            await supervisor.terminate_child(ref)
        assert ref.is_alive()


# ------------------------------------------------------------------ restart_child, delete_child


async def test_restart_child_starts_what_is_down(stage: Any) -> None:
    """Table of restart_child; it counts for nobody's intensity."""
    async with stage:
        supervisor = await stage.supervise(
            stage.worker("a"), stage.worker("t", restart="transient"), intensity=0
        )
        await supervisor.terminate_child("a")
        await stage.end((await stage.states(supervisor))["t"], NORMAL)
        refs = {name: await supervisor.restart_child(name) for name in "at"}
        assert await stage.states(supervisor) == refs


async def test_restart_child_refuses_what_runs_and_what_is_unknown(stage: Any) -> None:
    """Table of restart_child."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))
        with pytest.raises(ChildRunning):
            await supervisor.restart_child("a")
        with pytest.raises(ChildNotFound):
            await supervisor.restart_child("b")


async def test_a_restart_by_hand_that_fails_leaves_the_child_as_it_was(stage: Any) -> None:
    """Table of restart_child: there is no retry."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))
        await supervisor.terminate_child("a")
        stage.will("a", BROKEN)
        with pytest.raises(StartFailed):
            await supervisor.restart_child("a")
        await stage.turns()
        assert await stage.states(supervisor) == {"a": "stopped"}
        assert (await supervisor.restart_child("a")).is_alive()


async def test_delete_child_forgets_what_is_down_and_nothing_else(stage: Any) -> None:
    """Table of delete_child."""
    async with stage:
        supervisor = await stage.supervise(*stage.workers("ab"))
        with pytest.raises(ChildRunning):
            await supervisor.delete_child("a")
        await supervisor.terminate_child("a")
        await supervisor.delete_child("a")
        with pytest.raises(ChildNotFound):
            await supervisor.delete_child("a")
        assert list(await stage.states(supervisor)) == ["b"]


async def test_a_restarting_child_is_neither_restarted_nor_deleted_by_hand(stage: Any) -> None:
    """Table; terminate_child ends the loop."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))
        stage.will("a", *[BROKEN] * 50)
        await stage.end((await stage.states(supervisor))["a"])
        asked = [
            supervisor.restart_child("a"),
            supervisor.delete_child("a"),
            supervisor.terminate_child("a"),
        ]
        for call in asked[:2]:
            with pytest.raises(ChildRestarting):
                await call
        await asked[2]
        assert await stage.states(supervisor) == {"a": "stopped"}


# ----------------------------------------------------------------------------------------- reading


async def test_counts_are_of_specs_running_ones_and_either_type(stage: Any) -> None:
    """Table of count_children: dead or alive."""
    async with stage:
        supervisor = await stage.supervise(
            *stage.workers("ab"), child(Supervisor, id="inner"), child(lambda _: IGNORE, id="f")
        )
        await supervisor.terminate_child("a")
        assert await supervisor.count_children() == Counts(4, 2, 1, 3)


async def test_children_are_listed_in_start_order_with_their_restarts(stage: Any) -> None:
    """Table of which_children; OTP lists them in reverse."""
    async with stage:
        supervisor = await stage.supervise(*stage.workers("ab"))
        await stage.end((await stage.states(supervisor))["b"])
        stage.clock.advance(1.0)
        a, b = await supervisor.which_children()
        assert (a.spec.id, a.state, a.restarts, a.started_at) == ("a", "running", 0, 1000.0)
        assert (b.spec.id, b.state, b.restarts) == ("b", "running", 1)


# --------------------------------------------------------------------------------------- whoever


async def test_every_call_to_a_dead_supervisor_says_so(stage: Any) -> None:
    """Table: S does not exist."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))
        await supervisor.stop(block=False)
        for call in (
            supervisor.start_child(stage.worker("b")),
            supervisor.terminate_child("a"),
            supervisor.restart_child("a"),
            supervisor.delete_child("a"),
            supervisor.which_children(),
            supervisor.count_children(),
            supervisor.tree(),
        ):
            with pytest.raises(ActorDead):
                await call


async def test_a_call_that_waits_when_the_supervisor_dies_says_so_too(stage: Any) -> None:
    """S50."""
    async with stage:
        supervisor = await stage.supervise()
        stage.will("a", Gate())
        starting = supervisor.start_child(stage.worker("a"))
        waiting = supervisor.which_children()
        await stage.turns()
        supervisor.kill()
        for call in (starting, waiting):
            with pytest.raises(ActorDead):
                await call


async def test_requests_wait_while_a_child_takes_its_time_to_start(stage: Any) -> None:
    """S39: without limit."""
    async with stage:
        supervisor = await stage.supervise()
        gate = Gate()
        stage.will("a", gate)
        starting = supervisor.start_child(stage.worker("a"))
        counting = supervisor.count_children()
        stage.clock.advance(1e6)
        await stage.turns()
        assert not counting.done
        gate.release()
        await starting
        assert (await counting).active == 1


async def test_an_actor_and_a_thread_can_administer_a_supervisor(stage: Any) -> None:
    async with stage:
        supervisor = await stage.supervise()

        class Manager(Actor):
            async def on_receive(self, message: Any) -> Any:
                return await supervisor.start_child(stage.worker(message))

        manager = await stage.start(Manager)
        a = await manager.call("a")

        def from_a_thread() -> Any:
            assert threading.get_ident() != stage.system.thread_id
            return supervisor.start_child(stage.worker("b")).get(timeout=10.0)

        b = await stage.system.run_in_thread(from_a_thread)
        assert await stage.states(supervisor) == {"a": a, "b": b}


async def test_a_request_without_a_caller_is_carried_out_and_a_refusal_goes_nowhere(
    stage: Any,
) -> None:
    """S55: a refused request does not end the supervisor."""
    async with stage:
        supervisor = await stage.supervise()
        spec = stage.worker("a")
        supervisor.tell(handle.StartChild(spec))
        supervisor.tell(handle.StartChild(spec))
        supervisor.tell(handle.TerminateChild("b"))
        assert list(await stage.states(supervisor)) == ["a"]


async def test_the_caller_of_a_start_learns_of_that_start_whatever_follows_it(
    stage: Any,
) -> None:
    """A death that was waiting is decided after it, and may restart others."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))
        gate = Gate()
        stage.will("b", gate)
        starting = supervisor.start_child(stage.worker("b"))
        await stage.turns()
        await stage.end((next(iter(links_of(supervisor)))), Custom("meanwhile"))
        gate.release()
        b = await starting
        refs = await stage.states(supervisor)
        assert refs["b"] is b
        assert refs["a"].is_alive()


def links_of(ref: Any) -> Any:
    return ref._extra.links
