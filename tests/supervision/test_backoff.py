"""Back-off on running supervisors of either kind: each promise of docs/supervision.md."""

from __future__ import annotations

from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN
from puckstream.errors import ActorDead, ChildRestarting, TooManyChildren
from puckstream.supervision.child import Backoff, child
from puckstream.supervision.partition import PartitionSupervisor
from puckstream.supervision.place import Counts

BROKEN = RuntimeError("broken")
PATIENT = Backoff(min=1.0, max=4.0, jitter=0.0, reset_after=10.0)
EITHER = pytest.mark.parametrize("dynamic", [False, True])


class Idle(Actor):
    """Does nothing."""


class Patient:
    """A supervisor of one child, ``a``, that is restarted with a delay."""

    def __init__(self, stage: Any, supervisor: Any) -> None:
        self.stage, self.supervisor = stage, supervisor

    async def row(self) -> Any:
        (row,) = [row for row in await self.supervisor.which_children() if row.spec.id == "a"]
        return row

    async def crash(self) -> list[float]:
        """Crash the child; return the delays that are waited for then."""
        await self.stage.end((await self.row()).ref)
        assert (await self.row()).state == "restarting"
        delays: list[float] = self.stage.clock.delays
        return delays


async def patient(
    stage: Any,
    dynamic: bool,
    *,
    backoff: Backoff = PATIENT,
    restart: Any = "permanent",
    **flags: Any,
) -> Patient:
    supervisor = await (stage.dynamic if dynamic else stage.supervise)(**flags)
    await supervisor.start_child(stage.worker("a", backoff=backoff, restart=restart))
    return Patient(stage, supervisor)


@EITHER
async def test_the_delay_doubles_from_min_to_max_over_crashes_and_failed_starts(
    stage: Any, dynamic: bool
) -> None:
    async with stage:
        team = await patient(stage, dynamic)
        assert await team.crash() == [1.0]
        stage.will("a", BROKEN, BROKEN)
        for delay, next_delay in ((1.0, 2.0), (2.0, 4.0)):
            stage.clock.advance(delay)
            assert (await team.row()).state == "restarting"
            assert stage.clock.delays == [next_delay]
        stage.clock.advance(4.0)
        assert ((await team.row()).state, (await team.row()).restarts) == ("running", 1)
        assert await team.crash() == [4.0]


@EITHER
async def test_nothing_happens_before_the_delay_is_over(stage: Any, dynamic: bool) -> None:
    async with stage:
        team = await patient(stage, dynamic)
        await team.crash()
        stage.clock.advance(0.999)
        assert (await team.row()).state == "restarting"
        stage.clock.advance(0.001)
        assert (await team.row()).state == "running"


@EITHER
@pytest.mark.parametrize(("life", "delay"), [(9.999, 2.0), (10.0, 1.0)])
async def test_a_child_that_has_run_reset_after_seconds_begins_with_min_again(
    stage: Any, dynamic: bool, life: float, delay: float
) -> None:
    async with stage:
        team = await patient(stage, dynamic)
        await team.crash()
        stage.clock.advance(1.0)
        await team.row()
        stage.clock.advance(life)
        assert await team.crash() == [delay]


async def test_a_child_that_was_started_by_hand_begins_with_min_again(stage: Any) -> None:
    async with stage:
        team = await patient(stage, dynamic=False)
        await team.crash()
        await team.supervisor.terminate_child("a")
        await team.supervisor.restart_child("a")
        stage.clock.advance(1.0)  # what waited is overtaken
        assert (await team.row()).restarts == 0
        assert await team.crash() == [1.0]


@EITHER
async def test_the_jitter_takes_away_up_to_its_share_by_chance(stage: Any, dynamic: bool) -> None:
    async with stage:
        backoff = Backoff(min=8.0, max=8.0, jitter=0.25, reset_after=100.0)
        team = await patient(stage, dynamic, backoff=backoff)
        delays: set[float] = set()
        for _ in range(30):
            (delay,) = await team.crash()
            delays.add(delay)
            stage.clock.advance(delay)
        assert all(6.0 <= delay <= 8.0 for delay in delays)
        assert len(delays) > 20


@EITHER
async def test_requests_are_served_while_a_child_waits(stage: Any, dynamic: bool) -> None:
    """S39: it is there, and not active."""
    async with stage:
        team = await patient(stage, dynamic)
        await team.crash()
        other = await team.supervisor.start_child(stage.worker("b"))
        assert other.is_alive()
        assert await team.supervisor.count_children() == Counts(2, 1, 0, 2)
        if not dynamic:
            for call in (team.supervisor.restart_child, team.supervisor.delete_child):
                with pytest.raises(ChildRestarting):
                    await call("a")


@EITHER
async def test_a_child_that_waits_can_be_terminated(stage: Any, dynamic: bool) -> None:
    """S34: the restart is given up."""
    async with stage:
        team = await patient(stage, dynamic)
        ref = (await team.row()).ref
        await team.crash()
        await team.supervisor.terminate_child(ref if dynamic else "a")
        stage.clock.advance(100.0)
        assert (await team.supervisor.count_children()).active == 0
        assert stage.news() == ["start a", "end a crash"]


async def test_a_child_that_waits_takes_its_place(stage: Any) -> None:
    """S41."""
    async with stage:
        team = await patient(stage, dynamic=True, max_children=1)
        await team.crash()
        with pytest.raises(TooManyChildren):
            await team.supervisor.start_child(stage.worker("b"))


@EITHER
async def test_the_attempt_counts_when_it_is_made(stage: Any, dynamic: bool) -> None:
    """S19: waiting costs nothing, and protects from nothing."""
    async with stage:
        team = await patient(stage, dynamic, intensity=1, period=100.0)
        await team.crash()
        assert (await team.supervisor.tree()).restarts_in_window == 0
        stage.clock.advance(1.0)
        await team.row()
        assert (await team.supervisor.tree()).restarts_in_window == 1
        await team.crash()
        assert team.supervisor.is_alive()
        stage.clock.advance(2.0)
        assert await team.supervisor.wait_stopped() == SHUTDOWN


@EITHER
@pytest.mark.parametrize(("restart", "reason"), [("transient", NORMAL), ("temporary", KILLED)])
async def test_a_child_that_is_not_restarted_does_not_wait(
    stage: Any, dynamic: bool, restart: Any, reason: Any
) -> None:
    async with stage:
        team = await patient(stage, dynamic, restart=restart)
        ref = (await team.row()).ref
        if reason == KILLED:
            ref.kill()
        else:
            await stage.end(ref, reason)
        assert (await team.supervisor.count_children()).active == 0
        assert stage.clock.delays == []


@EITHER
async def test_a_supervisor_that_stops_waits_for_no_restart(stage: Any, dynamic: bool) -> None:
    async with stage:
        team = await patient(stage, dynamic)
        await team.crash()
        assert await team.supervisor.stop(block=False)
        assert stage.clock.delays == []


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_the_whole_group_waits_and_is_stopped_only_then(stage: Any, strategy: Any) -> None:
    """S25, S26."""
    async with stage:
        supervisor = await stage.supervise(
            stage.worker("z"),
            stage.worker("a", backoff=PATIENT),
            stage.worker("b"),
            strategy=strategy,
        )
        refs = await stage.states(supervisor)
        await stage.end(refs["a"])
        assert await stage.states(supervisor) == {**refs, "a": "restarting"}
        stage.news()
        stage.clock.advance(1.0)
        await stage.states(supervisor)
        z = strategy == "one_for_all"
        assert stage.news() == [
            "end b shutdown",
            *(["end z shutdown", "start z"] if z else []),
            "start a",
            "start b",
        ]


async def test_a_sibling_without_back_off_restarts_the_group_at_once(stage: Any) -> None:
    """S25: the child that waits comes back with it, and the wait is over."""
    async with stage:
        supervisor = await stage.supervise(
            stage.worker("a", backoff=PATIENT), stage.worker("b"), strategy="one_for_all"
        )
        refs = await stage.states(supervisor)
        await stage.end(refs["a"])
        await stage.end(refs["b"])
        after = await stage.states(supervisor)
        assert all(ref.is_alive() for ref in after.values())
        stage.clock.advance(100.0)
        assert await stage.states(supervisor) == after


async def test_a_partition_that_waits_is_not_found(stage: Any) -> None:
    """S74."""
    async with stage:
        spec = child(Idle, backoff=PATIENT)
        supervisor = await stage.start(PartitionSupervisor, spec, partitions=2)
        await stage.end(supervisor.partition(1))
        with pytest.raises(ActorDead):
            supervisor.partition(1)
        assert supervisor.partition(0).is_alive()
        await stage.turns()
        stage.clock.advance(1.0)
        await stage.turns()
        assert supervisor.partition(1).is_alive()


@EITHER
async def test_without_it_a_restart_is_at_once(stage: Any, dynamic: bool) -> None:
    """S23."""
    async with stage:
        supervisor = await (stage.dynamic() if dynamic else stage.supervise())
        ref = await supervisor.start_child(stage.worker("a"))
        await stage.end(ref)
        (row,) = await supervisor.which_children()
        assert (row.state, stage.clock.delays) == ("running", [])
