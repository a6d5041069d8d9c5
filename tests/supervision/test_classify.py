"""Classification on running supervisors of either kind: each promise of docs/supervision.md."""

from __future__ import annotations

from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN, Crash, Custom, ExitReason
from puckstream.errors import InvalidSpec
from puckstream.supervision.child import Backoff, child
from puckstream.supervision.supervisor import Supervisor

CRASH = Custom("crash")
EITHER = pytest.mark.parametrize("dynamic", [False, True])


class Idle(Actor):
    """Does nothing."""


class Opinion:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, verdict: Any = "restart") -> None:
        self.verdict = verdict
        self.asked: list[ExitReason] = []

    def __call__(self, reason: ExitReason) -> Any:
        self.asked.append(reason)
        if isinstance(self.verdict, BaseException):
            raise self.verdict
        return self.verdict


async def team_of(stage: Any, dynamic: bool, opinion: Opinion, *specs: Any, **flags: Any) -> Any:
    supervisor = await (stage.dynamic if dynamic else stage.supervise)(classify=opinion, **flags)
    return supervisor, [await supervisor.start_child(spec) for spec in specs]


@EITHER
@pytest.mark.parametrize(
    ("restart", "reason", "asked"),
    [
        ("permanent", NORMAL, True),
        ("permanent", CRASH, True),
        ("permanent", KILLED, True),
        ("transient", NORMAL, False),
        ("transient", SHUTDOWN, False),
        ("transient", CRASH, True),
        ("temporary", NORMAL, False),
        ("temporary", CRASH, False),
    ],
)
async def test_it_is_asked_once_and_only_where_the_child_would_be_restarted(
    stage: Any, dynamic: bool, restart: Any, reason: Any, asked: bool
) -> None:
    """S14: so it can add no restart."""
    async with stage:
        opinion = Opinion()
        supervisor, (ref,) = await team_of(
            stage, dynamic, opinion, stage.worker("a", restart=restart)
        )
        if reason == KILLED:
            ref.kill()
        else:
            await stage.end(ref, reason)
        active = (await supervisor.count_children()).active
        assert (opinion.asked, active) == (([reason], 1) if asked else ([], 0))


@EITHER
async def test_stop_leaves_the_child_as_after_an_end_without_restart(
    stage: Any, dynamic: bool
) -> None:
    """S15: also a permanent one; a static supervisor keeps its spec, to be started by hand."""
    async with stage:
        supervisor, (a, b) = await team_of(stage, dynamic, Opinion("stop"), *stage.workers("ab"))
        await stage.end(a)
        rows = {row.spec.id: row.state for row in await supervisor.which_children()}
        assert rows == ({} if dynamic else {"a": "stopped"}) | {"b": "running"}
        assert b.is_alive()
        assert (await supervisor.tree()).restarts_in_window == 0
        if not dynamic:
            assert (await supervisor.restart_child("a")).is_alive()


@EITHER
async def test_escalate_stops_all_children_and_ends_with_the_childs_reason(
    stage: Any, dynamic: bool
) -> None:
    """S30: in reverse order, of a static supervisor."""
    async with stage:
        supervisor, (a, *_) = await team_of(
            stage, dynamic, Opinion("escalate"), *stage.workers("abc")
        )
        stage.news()
        await stage.end(a)
        assert await supervisor.wait_stopped() == CRASH
        news = stage.news()
        ends = ["end a crash", "end c shutdown", "end b shutdown"]
        assert (sorted(news) if dynamic else news) == (sorted(ends) if dynamic else ends)


async def test_an_escalation_is_a_crash_to_the_supervisor_above(stage: Any) -> None:
    """S14: a transient supervisor that escalates is restarted, one that burns out is not."""
    async with stage:
        inner = child(
            Supervisor,
            stage.workers("a"),
            classify=Opinion("escalate"),
            id="inner",
            restart="transient",
        )
        top = await stage.supervise(inner)
        before = (await stage.states(top))["inner"]
        await stage.end((await stage.states(before))["a"])
        assert await before.wait_stopped() == CRASH
        after = (await stage.states(top))["inner"]
        assert (await stage.states(after))["a"].is_alive()


@EITHER
async def test_it_is_asked_before_the_wait_of_a_back_off(stage: Any, dynamic: bool) -> None:
    async with stage:
        opinion = Opinion()
        spec = stage.worker("a", backoff=Backoff(min=1.0, jitter=0.0))
        supervisor, (ref,) = await team_of(stage, dynamic, opinion, spec)
        await stage.end(ref)
        await supervisor.which_children()
        assert (opinion.asked, stage.clock.delays) == ([CRASH], [1.0])
        stage.clock.advance(1.0)
        await supervisor.which_children()
        assert opinion.asked == [CRASH]


async def test_a_significant_child_it_lets_be_has_ended(stage: Any) -> None:
    """S36."""
    async with stage:
        spec = stage.worker("a", restart="transient", significant=True)
        supervisor, (ref,) = await team_of(
            stage, False, Opinion("stop"), spec, auto_shutdown="any_significant"
        )
        await stage.end(ref)
        assert await supervisor.wait_stopped() == SHUTDOWN


@EITHER
@pytest.mark.parametrize("verdict", [RuntimeError("no idea"), "perhaps", None])
async def test_no_verdict_ends_the_supervisor_in_order(
    stage: Any, dynamic: bool, verdict: Any
) -> None:
    """S55: it has crashed, with what was raised or an `InvalidSpec` that names the answer."""
    async with stage:
        supervisor, (a, b) = await team_of(stage, dynamic, Opinion(verdict), *stage.workers("ab"))
        await stage.end(a)
        reason = await supervisor.wait_stopped()
        assert isinstance(reason, Crash)
        if isinstance(verdict, Exception):
            assert reason.error is verdict
        else:
            assert isinstance(reason.error, InvalidSpec)
            assert reason.error.value is verdict
        assert b.reason == SHUTDOWN


@EITHER
async def test_what_is_stopped_by_others_is_not_asked_about(stage: Any, dynamic: bool) -> None:
    """S34: by terminate_child, or with the supervisor."""
    async with stage:
        opinion = Opinion()
        supervisor, (a, _b) = await team_of(stage, dynamic, opinion, *stage.workers("ab"))
        await supervisor.terminate_child(a if dynamic else "a")
        await supervisor.stop(block=False)
        assert opinion.asked == []
