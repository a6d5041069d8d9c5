"""A running static supervisor: intensity, failing restarts, groups, back-off, its own end."""

from __future__ import annotations

from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.signals import NORMAL, SHUTDOWN, Crash, Custom, ExitReason, Shutdown
from puckstream.errors import ChildPresent, ChildRestarting
from puckstream.supervision.child import Backoff, child
from puckstream.supervision.supervisor import Supervisor

BROKEN = RuntimeError("broken")
CRASH = Custom("crash")


async def end_child(stage: Any, supervisor: Any, name: str, reason: Any = CRASH) -> None:
    await stage.end((await stage.states(supervisor))[name], reason)


class Failing:
    """A start function that fails as often as it is told to."""

    def __init__(self, stage: Any) -> None:
        self.stage = stage
        self.failures = 0
        self.attempts = 0

    async def __call__(self, context: Any) -> Any:
        self.attempts += 1
        if self.attempts > 1 and self.failures:
            self.failures -= 1
            raise BROKEN
        return await context.spawn(Idle)


class Idle(Actor):
    """Does nothing."""


# ------------------------------------------------------------------------------------- intensity


async def test_more_restarts_than_allowed_within_the_period_end_the_supervisor(
    stage: Any,
) -> None:
    """S19, S22: with ``shutdown``, the other children in reverse order first."""
    async with stage:
        supervisor = await stage.supervise(*stage.workers("abc"), intensity=2, period=5.0)
        for _ in range(2):
            await end_child(stage, supervisor, "b")
            stage.clock.advance(2.0)
        assert (await stage.states(supervisor))["b"].is_alive()
        stage.news()
        await end_child(stage, supervisor, "b")
        assert await supervisor.wait_stopped() == SHUTDOWN
        assert stage.news() == ["end b crash", "end c shutdown", "end a shutdown"]


async def test_a_restart_that_has_left_the_period_counts_no_more(stage: Any) -> None:
    """S19: one that is exactly ``period`` old still counts."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"), intensity=1, period=5.0)
        for _ in range(5):
            await end_child(stage, supervisor, "a")
            assert (await stage.states(supervisor))["a"].is_alive()
            stage.clock.advance(6.0)
        await end_child(stage, supervisor, "a")
        await supervisor.which_children()
        stage.clock.advance(5.0)
        await end_child(stage, supervisor, "a")
        assert await supervisor.wait_stopped() == SHUTDOWN


async def test_intensity_0_allows_no_restart(stage: Any) -> None:
    """S19."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"), intensity=0)
        await end_child(stage, supervisor, "a")
        assert await supervisor.wait_stopped() == SHUTDOWN


async def test_there_is_one_count_for_all_children(stage: Any) -> None:
    """S20."""
    async with stage:
        supervisor = await stage.supervise(*stage.workers("ab"), intensity=1)
        await end_child(stage, supervisor, "a")
        await end_child(stage, supervisor, "b")
        assert await supervisor.wait_stopped() == SHUTDOWN


async def test_a_group_restart_counts_once(stage: Any) -> None:
    """S20."""
    async with stage:
        supervisor = await stage.supervise(
            *stage.workers("abc"), strategy="one_for_all", intensity=1
        )
        await end_child(stage, supervisor, "a")
        assert (await supervisor.count_children()).active == 3
        assert (await supervisor.tree()).restarts_in_window == 1


# ------------------------------------------------------------------------------- failing restarts


async def test_a_restart_that_fails_is_tried_again_until_it_succeeds(stage: Any) -> None:
    """S21: each attempt counts."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"), intensity=4)
        stage.will("a", BROKEN, BROKEN, BROKEN)
        await end_child(stage, supervisor, "a")
        await stage.turns()
        assert (await stage.states(supervisor))["a"].is_alive()
        assert stage.news() == ["start a", "end a crash", "fail a", "fail a", "fail a", "start a"]
        assert (await supervisor.tree()).restarts_in_window == 4


async def test_a_restart_that_fails_too_often_ends_the_supervisor(stage: Any) -> None:
    """S21, S22."""
    async with stage:
        supervisor = await stage.supervise(*stage.workers("ab"), intensity=3)
        stage.will("b", *[BROKEN] * 10)
        await end_child(stage, supervisor, "b")
        assert await supervisor.wait_stopped() == SHUTDOWN
        assert stage.news()[2:] == ["end b crash", *["fail b"] * 3, "end a shutdown"]


async def test_requests_are_served_between_two_attempts_of_a_failing_restart(
    stage: Any,
) -> None:
    """S21, S39: what was asked before an attempt was queued is answered before it is made."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"), stage.worker("b"), intensity=1000)
        stage.will("b", *[BROKEN] * 500)
        await end_child(stage, supervisor, "b")
        seen = await stage.states(supervisor)
        assert seen["b"] == "restarting"
        assert (await supervisor.count_children()).active == 1
        for call, error in (
            (supervisor.restart_child("b"), ChildRestarting),
            (supervisor.delete_child("b"), ChildRestarting),
            (supervisor.start_child(stage.worker("b")), ChildPresent),
        ):
            with pytest.raises(error):
                await call
        c = await supervisor.start_child(stage.worker("c"))
        assert c.is_alive()
        assert stage.outcomes["b"], "it is still looping"
        await supervisor.terminate_child("b")
        left = len(stage.outcomes["b"])
        await stage.turns()
        assert (await stage.states(supervisor))["b"] == "stopped"
        assert len(stage.outcomes["b"]) == left


async def test_a_supervisor_can_be_stopped_while_a_restart_keeps_failing(stage: Any) -> None:
    """S21."""
    async with stage:
        supervisor = await stage.supervise(*stage.workers("ab"), intensity=2000)
        stage.will("b", *[BROKEN] * 1000)
        await end_child(stage, supervisor, "b")
        await supervisor.which_children()
        await supervisor.stop(block=False)
        assert supervisor.reason == NORMAL
        assert len(stage.outcomes["b"]) > 500


async def test_a_start_function_that_fails_at_restart_is_tried_again(stage: Any) -> None:
    """S21: an asynchronous one, so that the supervisor waits in between."""
    async with stage:
        start = Failing(stage)
        supervisor = await stage.supervise(child(start, id="f"))
        start.failures = 5
        await end_child(stage, supervisor, "f")
        await stage.turns()
        assert start.attempts == 7
        assert (await stage.states(supervisor))["f"].is_alive()


async def test_a_backoff_delays_each_attempt_on_the_clock(stage: Any) -> None:
    """S23: OTP has none; meanwhile the child shows as restarting and requests are served."""
    async with stage:
        backoff = Backoff(min=1.0, max=3.0, jitter=0.0, reset_after=60.0)
        supervisor = await stage.supervise(stage.worker("a", backoff=backoff))
        stage.will("a", BROKEN, BROKEN)
        await end_child(stage, supervisor, "a")
        for delay in (1.0, 2.0, 3.0):
            assert await stage.states(supervisor) == {"a": "restarting"}
            assert stage.clock.delays == [delay]
            stage.clock.advance(delay)
        assert (await stage.states(supervisor))["a"].is_alive()
        # It crashes again before it has proved itself, and after it has.
        await end_child(stage, supervisor, "a")
        await supervisor.which_children()
        assert stage.clock.delays == [3.0]
        stage.clock.advance(3.0)
        await supervisor.which_children()
        stage.clock.advance(60.0)
        await end_child(stage, supervisor, "a")
        await supervisor.which_children()
        assert stage.clock.delays == [1.0]


async def test_a_delayed_restart_dies_with_the_supervisor(stage: Any) -> None:
    async with stage:
        supervisor = await stage.supervise(stage.worker("a", backoff=Backoff()))
        await end_child(stage, supervisor, "a")
        await supervisor.which_children()
        await supervisor.stop(block=False)
        assert stage.clock.delays == []


# ------------------------------------------------------------------------------------ escalation


@pytest.mark.parametrize(("restart", "restarted"), [("transient", False), ("permanent", True)])
async def test_a_burned_out_supervisor_is_restarted_by_its_parent_only_if_permanent(
    stage: Any, restart: Any, restarted: bool
) -> None:
    """S22: it ends with ``shutdown``, an expected reason."""
    async with stage:
        inner = child(Supervisor, stage.workers("ab"), intensity=0, id="inner", restart=restart)
        top = await stage.supervise(stage.worker("z"), inner)
        before = (await stage.states(top))["inner"]
        stage.news()
        await end_child(stage, before, "a")
        assert await before.wait_stopped() == SHUTDOWN
        after = (await stage.states(top))["inner"]
        assert stage.news() == [
            "end a crash",
            "end b shutdown",
            *(["start a", "start b"] if restarted else []),
        ]
        assert (after == "stopped") is not restarted


async def test_a_child_that_keeps_crashing_burns_out_one_floor_after_the_other(
    stage: Any,
) -> None:
    """S22: up to the top, which ends with ``shutdown``."""
    async with stage:
        inner = child(Supervisor, stage.workers("a"), intensity=1, id="inner")
        top = await stage.supervise(stage.worker("z"), inner, intensity=1)
        deaths = 0
        while top.is_alive():
            supervisor = (await stage.states(top))["inner"]
            await end_child(stage, supervisor, "a")
            deaths += 1
            await stage.turns()
        assert (deaths, top.reason) == (4, SHUTDOWN)
        assert stage.news()[-1] == "end z shutdown"


# ---------------------------------------------------------------------------------- auto_shutdown


def significant(stage: Any, name: str, restart: Any = "transient") -> Any:
    return stage.worker(name, restart=restart, significant=True)


@pytest.mark.parametrize(
    ("restart", "reason", "ends"),
    [
        ("transient", NORMAL, True),
        ("transient", SHUTDOWN, True),
        ("transient", Shutdown("detail"), True),
        ("transient", CRASH, False),
        ("temporary", NORMAL, True),
        ("temporary", CRASH, True),
    ],
)
async def test_any_significant_child_that_ends_for_good_takes_the_supervisor_along(
    stage: Any, restart: Any, reason: Any, ends: bool
) -> None:
    """S36, S37: one that is restarted does not."""
    async with stage:
        supervisor = await stage.supervise(
            significant(stage, "a", restart),
            significant(stage, "b"),
            stage.worker("c"),
            auto_shutdown="any_significant",
        )
        stage.news()
        await end_child(stage, supervisor, "a", reason)
        if ends:
            assert await supervisor.wait_stopped() == SHUTDOWN
            assert stage.news()[1:] == ["end c shutdown", "end b shutdown"]
        else:
            assert (await supervisor.count_children()).active == 3


async def test_all_significant_waits_for_the_last_one(stage: Any) -> None:
    """S36: one stopped by hand does not count as left, and ends nothing itself."""
    async with stage:
        supervisor = await stage.supervise(
            *(significant(stage, name) for name in "abc"),
            stage.worker("d"),
            auto_shutdown="all_significant",
        )
        await end_child(stage, supervisor, "a", NORMAL)
        await supervisor.terminate_child("b")
        assert (await supervisor.count_children()).active == 2
        await end_child(stage, supervisor, "c", NORMAL)
        assert await supervisor.wait_stopped() == SHUTDOWN


async def test_stopping_significant_children_by_hand_ends_nobody(stage: Any) -> None:
    """S34, S36, S37: the end of one added later does."""
    async with stage:
        supervisor = await stage.supervise(significant(stage, "a"), auto_shutdown="any_significant")
        await supervisor.terminate_child("a")
        assert await stage.states(supervisor) == {"a": "stopped"}
        late = await supervisor.start_child(significant(stage, "b", "temporary"))
        await stage.end(late, NORMAL)
        assert await supervisor.wait_stopped() == SHUTDOWN


async def test_a_significant_child_stopped_because_of_a_sibling_ends_nobody(stage: Any) -> None:
    """S37."""
    async with stage:
        supervisor = await stage.supervise(
            significant(stage, "a", "temporary"),
            stage.worker("b"),
            strategy="one_for_all",
            auto_shutdown="any_significant",
        )
        await end_child(stage, supervisor, "b")
        assert list(await stage.states(supervisor)) == ["b"]


@pytest.mark.parametrize("is_significant", [True, False])
async def test_an_automatic_shutdown_escalates_if_the_supervisor_is_significant(
    stage: Any, is_significant: bool
) -> None:
    """S38."""
    async with stage:
        inner = child(
            Supervisor,
            [significant(stage, "a")],
            auto_shutdown="any_significant",
            id="inner",
            restart="transient",
        )
        inner = child(
            inner.start,
            *inner.args,
            **inner.kwargs,
            id="inner",
            restart="transient",
            significant=is_significant,
        )
        top = await stage.start(
            Supervisor, [stage.worker("z"), inner], auto_shutdown="any_significant"
        )
        supervisor = (await stage.states(top))["inner"]
        await end_child(stage, supervisor, "a", NORMAL)
        await supervisor.wait_stopped()
        if is_significant:
            assert await top.wait_stopped() == SHUTDOWN
        else:
            assert (await stage.states(top))["inner"] == "stopped"


# --------------------------------------------------------------------------------------- classify


def opinion(reason: ExitReason) -> Any:
    if isinstance(reason, Crash):
        return {"retry": "restart", "fatal": "stop", "give up": "escalate"}[str(reason.error)]
    return "restart"


async def test_classify_has_the_last_word_on_a_restart(stage: Any) -> None:
    async with stage:
        supervisor = await stage.supervise(*stage.workers("abc"), classify=opinion)
        refs = await stage.states(supervisor)
        for name, what in (("a", "retry"), ("b", "fatal")):
            refs[name].tell(RuntimeError(what))
            await refs[name].wait_stopped()
        after = await stage.states(supervisor)
        assert after["a"].is_alive()
        assert after["b"] == "stopped"
        error = RuntimeError("give up")
        refs["c"].tell(error)
        assert await supervisor.wait_stopped() == Crash(error)
        assert stage.news()[-1] == "end a shutdown"


async def test_a_classify_that_raises_ends_the_supervisor_and_the_children_in_order(
    stage: Any,
) -> None:
    """S55: ``terminate`` is called after a crash too."""
    async with stage:
        supervisor = await stage.supervise(*stage.workers("abc"), classify=opinion)
        refs = await stage.states(supervisor)
        stage.news()
        refs["b"].tell(RuntimeError("unheard of"))
        reason = await supervisor.wait_stopped()
        assert isinstance(reason, Crash)
        assert isinstance(reason.error, KeyError)
        assert stage.news()[1:] == ["end c shutdown", "end a shutdown"]
