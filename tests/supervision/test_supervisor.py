"""A running static supervisor: how it starts, and what it does when a child ends."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.signals import (
    KILLED,
    NORMAL,
    SHUTDOWN,
    Custom,
    Down,
    Exit,
    Shutdown,
)
from puckstream.errors import StartFailed
from puckstream.supervision.child import child
from puckstream.supervision.dynamic import DynamicSupervisor
from puckstream.supervision.supervisor import Supervisor
from puckstream.testing.gate import Gate

BROKEN = RuntimeError("broken")
CRASH = Custom("crash")


class Watcher(Actor):
    """Keeps every message."""

    trap_exit = True

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.got.append(message)
        return None


# ------------------------------------------------------------------------------------- child ends


@pytest.mark.parametrize(
    ("restart", "reason", "state"),
    [
        ("permanent", NORMAL, "running"),
        ("permanent", SHUTDOWN, "running"),
        ("permanent", Shutdown("detail"), "running"),
        ("permanent", CRASH, "running"),
        ("permanent", "kill", "running"),
        ("transient", NORMAL, "stopped"),
        ("transient", SHUTDOWN, "stopped"),
        ("transient", Shutdown("detail"), "stopped"),
        ("transient", CRASH, "running"),
        ("transient", "kill", "running"),
        ("temporary", NORMAL, None),
        ("temporary", SHUTDOWN, None),
        ("temporary", CRASH, None),
    ],
)
async def test_who_is_restarted_and_whose_spec_stays(
    stage: Any, restart: Any, reason: Any, state: str | None
) -> None:
    """S14, S15: permanent always, transient after a crash, temporary never and forgotten."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a", restart=restart), stage.worker("b"))
        refs = await stage.states(supervisor)
        await stage.end(refs["a"], reason)
        rows = {row.spec.id: row for row in await supervisor.which_children()}
        assert (rows["a"].state if "a" in rows else None) == state
        assert rows["b"].ref is refs["b"]
        if state == "running":
            assert rows["a"].ref is not refs["a"]
            assert rows["a"].restarts == 1
        if state == "stopped":
            assert (await supervisor.restart_child("a")).is_alive()


@pytest.mark.parametrize(
    ("restart", "reason", "level"),
    [
        ("permanent", NORMAL, logging.INFO),
        ("permanent", CRASH, logging.ERROR),
        ("transient", SHUTDOWN, None),
        ("transient", CRASH, logging.ERROR),
        ("temporary", NORMAL, None),
        ("temporary", CRASH, logging.ERROR),
    ],
)
async def test_an_end_is_reported_if_it_is_a_crash_or_the_child_is_permanent(
    stage: Any, caplog: pytest.LogCaptureFixture, restart: Any, reason: Any, level: int | None
) -> None:
    """S16."""
    caplog.set_level(logging.INFO, "puckstream.supervision")
    async with stage:
        supervisor = await stage.supervise(stage.worker("a", restart=restart))
        await stage.end((await stage.states(supervisor))["a"], reason)
        await supervisor.which_children()
    levels = [record.levelno for record in caplog.records if "child terminated" in record.message]
    assert levels == ([] if level is None else [level])


async def test_the_exit_of_a_stranger_is_ignored_and_so_is_an_unknown_message(
    stage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """S17: the exit without a word, the message with a line in the log."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"))
        stranger = await stage.start(Watcher)
        await stranger.call(lambda watcher: watcher.link(supervisor))
        refs = await stage.states(supervisor)
        stranger.kill()
        assert await stage.states(supervisor) == refs
        assert caplog.records == []
        supervisor.tell("what?")
        assert await stage.states(supervisor) == refs
        assert "Unexpected message" in caplog.text


async def test_the_arguments_of_a_running_temporary_child_are_not_kept(stage: Any) -> None:
    """S18."""
    async with stage:
        supervisor = await stage.supervise(
            stage.worker("a", restart="temporary"), stage.worker("b")
        )
        a, b = await supervisor.which_children()
        assert (a.spec.args, b.spec.args) == ((), (stage, "b"))


# -------------------------------------------------------------------------------------- the tree


async def test_a_supervisor_is_a_child_like_any_other(stage: Any) -> None:
    """S7: a tree starts depth first, in order."""
    async with stage:
        inner = child(Supervisor, stage.workers("bc"), id="inner")
        dynamic = child(DynamicSupervisor, id="dynamic")
        supervisor = await stage.supervise(stage.worker("a"), inner, dynamic, stage.worker("d"))
        assert stage.news() == ["start a", "start b", "start c", "start d"]
        assert (await supervisor.count_children()).supervisors == 2
        await supervisor.stop(block=False)
        ends = [f"end {name} shutdown" for name in "dcba"]
        assert stage.news() == ends


async def test_a_child_that_fails_deep_in_the_tree_unwinds_all_of_it(stage: Any) -> None:
    """S11."""
    async with stage:
        stage.will("c", BROKEN)
        inner = child(Supervisor, stage.workers("bc"), id="inner")
        supervisor = stage.spawn(Supervisor, [stage.worker("a"), inner])
        with pytest.raises(StartFailed) as raised:
            await supervisor._extra.started
        assert stage.news() == [
            "start a",
            "start b",
            "fail c",
            "end b shutdown",
            "end a shutdown",
        ]
        assert stage.system.actors == {}
        chain = [raised.value]
        while isinstance(chain[-1].__cause__, StartFailed):
            chain.append(chain[-1].__cause__)
        assert chain[-1].__cause__ is BROKEN


async def test_children_added_at_run_time_are_lost_when_the_supervisor_is_restarted(
    stage: Any,
) -> None:
    """S29."""
    async with stage:
        top = await stage.supervise(child(Supervisor, stage.workers("a"), id="inner"))
        inner = (await stage.states(top))["inner"]
        await inner.start_child(stage.worker("b"))
        assert list(await stage.states(inner)) == ["a", "b"]
        await stage.end(inner, "kill")
        inner = (await stage.states(top))["inner"]
        assert list(await stage.states(inner)) == ["a"]


async def test_killing_a_supervisor_sends_its_children_the_signal_killed(stage: Any) -> None:
    """S35: no protocol and no order; one that traps exits decides for itself."""
    async with stage:
        watcher = await stage.start(Watcher)
        inner = child(Supervisor, stage.workers("bc"), id="inner")
        supervisor = await stage.supervise(stage.worker("a"), stage.trapper("t"), inner)
        refs = await stage.states(supervisor)
        for ref in (supervisor, refs["inner"], refs["t"]):
            await watcher.call(lambda watcher, ref=ref: watcher.monitor(ref))
        stage.news()
        supervisor.kill()
        assert await refs["inner"].wait_stopped() == KILLED
        assert await refs["t"].wait_stopped() == KILLED
        await refs["a"].wait_stopped()
        news = stage.news()
        assert {"end a killed", "stopping t", "end t killed"} <= set(news)
        # A sub-supervisor stops its own children first, in order, and is killed only then.
        assert news.index("end c shutdown") < news.index("end b shutdown")
        await watcher.call(lambda _watcher: None)
        got = await watcher.call(lambda watcher: watcher.got)
        assert {(type(down), down.reason) for down in got} == {(Down, KILLED)}
        assert len(got) == 3


async def test_an_exit_from_outside_is_not_the_parents_and_is_ignored(stage: Any) -> None:
    """S17, S35: only the parent can ask a supervised supervisor to end; all others may kill."""
    async with stage:
        top = await stage.supervise(child(Supervisor, stage.workers("a"), id="inner"))
        inner = (await stage.states(top))["inner"]
        inner.exit(SHUTDOWN)
        assert list(await stage.states(inner)) == ["a"]
        assert stage.news() == ["start a"]


@pytest.mark.parametrize("reason", [SHUTDOWN, NORMAL, CRASH])
async def test_an_exit_from_outside_stops_an_unsupervised_supervisor_with_that_reason(
    stage: Any, reason: Any
) -> None:
    """S35, and the correction of S17: the parent's ``normal`` stops the tree as well."""
    async with stage:
        supervisor = await stage.supervise(*stage.workers("ab"))
        stage.news()
        supervisor.exit(reason)
        assert await supervisor.wait_stopped() == reason
        assert stage.news() == ["end b shutdown", "end a shutdown"]


async def test_a_linked_actor_learns_how_a_supervisor_ended(stage: Any) -> None:
    """S22, S35: by an Exit that carries the reason."""
    async with stage:
        watcher = await stage.start(Watcher)
        supervisor = await stage.supervise(stage.worker("a"), intensity=0)
        await watcher.call(lambda watcher: watcher.link(supervisor))
        await stage.end((await stage.states(supervisor))["a"])
        await supervisor.wait_stopped()
        assert await watcher.call(lambda watcher: watcher.got) == [Exit(supervisor, SHUTDOWN)]


# ----------------------------------------------------------------------------------------- scale


async def test_thousands_of_children_that_take_their_time_start_and_stop(stage: Any) -> None:
    """S8, S30: a step per child, on no stack."""
    async with stage:
        count = 3000
        gate = Gate(open=True)
        for number in range(count):
            stage.will(number, gate)
        supervisor = await stage.supervise(*(stage.worker(number) for number in range(count)))
        starts = [line for line in stage.news() if line.startswith("start")]
        assert starts == [f"start {number}" for number in range(count)]
        await supervisor.stop(block=False)
        assert stage.news() == [f"end {number} shutdown" for number in reversed(range(count))]
        assert stage.system.actors == {}
        assert stage.clock.delays == []
