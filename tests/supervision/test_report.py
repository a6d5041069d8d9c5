"""What supervisors report, at which level, and with which fields."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN, Crash, Custom, Shutdown
from puckstream.errors import StartFailed
from puckstream.supervision.action import Report
from puckstream.supervision.child import Backoff, child
from puckstream.supervision.dynamic import DynamicSupervisor
from puckstream.supervision.partition import PartitionSupervisor
from puckstream.supervision.report import level_of
from puckstream.supervision.supervisor import Supervisor
from puckstream.supervision.tasks import TaskSupervisor
from puckstream.testing.gate import Gate

BROKEN = RuntimeError("broken")
CRASH = Custom("crash")
FIELDS = ("report", "supervisor", "child", "ref", "reason", "restarts")


class Idle(Actor):
    """Does nothing."""


class Raises(Actor):
    """Raises when it is stopped, or told to."""

    trap_exit = True

    def on_receive(self, message: Any) -> None:
        raise message

    def on_stop(self) -> None:
        raise BROKEN


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001  # with its traceback
        return caught


def reports(caplog: pytest.LogCaptureFixture, *fields: str) -> list[Any]:
    """Return the fields of each report so far, and forget them."""
    found = [record for record in caplog.records if record.name == "puckstream.supervision"]
    caplog.clear()
    rows = [tuple(getattr(record, field) for field in fields or FIELDS) for record in found]
    return [row[0] for row in rows] if len(fields) == 1 else rows


@pytest.fixture(autouse=True)
def _verbose(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "puckstream.supervision")


def name_of(ref: Any) -> str:
    return f"{ref.actor_class.__name__}#{ref.id}"


# ------------------------------------------------------------------------------------------ kinds


@pytest.mark.parametrize("dynamic", [False, True])
async def test_the_end_of_a_child_is_reported_with_who_and_why_and_how_often(
    stage: Any, caplog: pytest.LogCaptureFixture, dynamic: bool
) -> None:
    """S16."""
    async with stage:
        supervisor = await (stage.dynamic() if dynamic else stage.supervise())
        ref = await supervisor.start_child(stage.worker("a"))
        for restarts in range(3):
            await stage.end(ref)
            (row,) = await supervisor.which_children()
            record = caplog.records[-1]
            assert reports(caplog) == [
                ("child_terminated", "node", "a", name_of(ref), "crash", restarts)
            ]
            assert record.levelno == logging.ERROR
            assert record.exc_info is None
            assert record.getMessage().startswith("node: child 'a': child terminated")
            ref = row.ref


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_restart_that_fails_is_reported_each_time_and_so_is_the_last(
    stage: Any, caplog: pytest.LogCaptureFixture, dynamic: bool
) -> None:
    """S21, S22: the record has the traceback, and the count of restarts that succeeded."""
    async with stage:
        supervisor = await (stage.dynamic if dynamic else stage.supervise)(intensity=2)
        ref = await supervisor.start_child(stage.worker("a"))
        stage.will("a", BROKEN, BROKEN)
        await stage.end(ref)
        assert await supervisor.wait_stopped() == SHUTDOWN
        errors = [record.exc_info[1] for record in caplog.records if record.exc_info]
        assert errors == [BROKEN, BROKEN]
        assert {record.levelno for record in caplog.records} == {logging.ERROR}
        assert "more than 2 in 5 s" in caplog.records[-1].getMessage()
        broken = f"crash: RuntimeError: {BROKEN}"
        assert reports(caplog) == [
            ("child_terminated", "node", "a", name_of(ref), "crash", 0),
            ("start_error", "node", "a", "", broken, 0),
            ("start_error", "node", "a", "", broken, 0),
            ("reached_max_restart_intensity", "node", "a", "", broken, 0),
        ]


async def test_a_child_that_does_not_start_with_its_supervisor_is_reported_once(
    stage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """S11: as an error where it failed; those above have only been told."""
    async with stage:
        stage.will("c", BROKEN)
        inner = child(Supervisor, stage.workers("bc"), id="inner")
        stage.spawn(Supervisor, [stage.worker("a"), inner])
        await stage.turns()
        found = reports(caplog, "levelno", "report", "supervisor", "child")
        assert found == [
            (logging.ERROR, "start_error", "node/inner", "c"),
            (logging.INFO, "start_error", "node", "inner"),
        ]


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("all_", [False, True])
async def test_a_child_that_had_to_be_killed_is_reported(
    stage: Any, caplog: pytest.LogCaptureFixture, dynamic: bool, all_: bool
) -> None:
    """S33: whether it is stopped alone or with all others."""
    async with stage:
        supervisor = await (stage.dynamic() if dynamic else stage.supervise())
        stage.hold("a")
        ref = await supervisor.start_child(stage.trapper("a", shutdown=1.0))
        key = ref if dynamic else "a"
        stopped = supervisor.stop(block=False) if all_ else supervisor.terminate_child(key)
        await stage.turns()
        stage.clock.advance(1.0)
        await stopped
        assert reports(caplog) == [("shutdown_error", "node", "a", name_of(ref), "killed", 0)]


async def test_a_start_that_was_asked_for_is_its_callers_to_hear(
    stage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Table of start_child: there is no report."""
    async with stage:
        stage.will("a", BROKEN, BROKEN)
        for supervisor in (await stage.supervise(), await stage.dynamic()):
            with pytest.raises(StartFailed):
                await supervisor.start_child(stage.worker("a"))
        assert reports(caplog) == []


# ----------------------------------------------------------------------------------------- levels


TOLD = Crash(raised(ValueError("told")))


@pytest.mark.parametrize(
    ("kind", "reason", "level"),
    [
        ("child_terminated", NORMAL, logging.INFO),
        ("child_terminated", Shutdown("done"), logging.INFO),
        ("child_terminated", TOLD, logging.INFO),
        ("child_terminated", Crash(ValueError("from outside")), logging.ERROR),
        ("child_terminated", CRASH, logging.ERROR),
        ("child_terminated", KILLED, logging.ERROR),
        ("shutdown_error", NORMAL, logging.INFO),
        ("shutdown_error", TOLD, logging.INFO),
        ("shutdown_error", KILLED, logging.ERROR),
        ("start_error", TOLD, logging.ERROR),
        ("start_error", Shutdown("of a child"), logging.INFO),
        ("reached_max_restart_intensity", NORMAL, logging.ERROR),
        ("reached_max_restart_intensity", TOLD, logging.ERROR),
    ],
)
def test_what_nobody_else_tells_is_an_error(kind: Any, reason: Any, level: int) -> None:
    assert level_of(Report(kind, "a", None, reason)) == level


@pytest.mark.parametrize("dynamic", [False, True])
async def test_one_crash_is_one_error_in_the_log(
    stage: Any, caplog: pytest.LogCaptureFixture, dynamic: bool
) -> None:
    """It is the actor's own; so is that of a hook while it is being stopped."""
    async with stage:
        supervisor = await (stage.dynamic() if dynamic else stage.supervise())
        ref = await supervisor.start_child(child(Raises, id="a"))
        ref.tell(ValueError("crash"))
        await ref.wait_stopped()
        await supervisor.which_children()
        errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
        # The second is that of ``on_stop``, which pykka's rule does not run after a crash.
        assert [record.name for record in errors] == ["puckstream.actors"]
        caplog.clear()
        await supervisor.stop(block=False)
        errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert [record.name for record in errors] == ["puckstream.actors"]
        assert reports(caplog, "report") == ["shutdown_error"]


@pytest.mark.parametrize("dynamic", [False, True])
async def test_an_exception_that_was_never_raised_is_no_silent_end(
    stage: Any, caplog: pytest.LogCaptureFixture, dynamic: bool
) -> None:
    """``exit(error)`` from outside: no actor has reported it."""
    async with stage:
        supervisor = await (stage.dynamic() if dynamic else stage.supervise())
        ref = await supervisor.start_child(stage.worker("a"))
        await stage.end(ref, ValueError("from outside"))
        await supervisor.which_children()
        assert reports(caplog, "levelno", "report") == [(logging.ERROR, "child_terminated")]


async def test_a_tree_that_starts_works_and_stops_as_it_should_says_nothing(
    stage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """No normal exit is noisy."""
    caplog.set_level(logging.INFO)
    async with stage:
        inner = child(Supervisor, stage.workers("bc", restart="transient"), id="inner")
        top = await stage.supervise(stage.trapper("a"), inner, DynamicSupervisor)
        refs = await stage.states(top)
        await stage.end((await stage.states(refs["inner"]))["b"], NORMAL)
        dynamic = refs["DynamicSupervisor"]
        done, *_ = [
            await dynamic.start_child(stage.worker("d", restart="temporary")) for _ in range(3)
        ]
        await stage.end(done, NORMAL)
        await top.terminate_child("a")
        await top.stop(block=False)
        assert caplog.records == []


# ----------------------------------------------------------------------------------- whereabouts


async def test_a_report_names_its_supervisor_by_the_way_down_to_it(
    stage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage:
        pool = child(DynamicSupervisor, id="pool")
        top = await stage.supervise(child(Supervisor, [pool], id="team"))
        team = (await stage.states(top))["team"]
        supervisor = (await stage.states(team))["pool"]
        await stage.end(await supervisor.start_child(stage.worker("a")))
        await supervisor.which_children()
        assert reports(caplog, "supervisor", "child") == [("node/team/pool", "a")]


async def test_a_supervisor_describes_its_children(stage: Any) -> None:
    """For crash reports: the id, and how often it was restarted; else the name of the class."""
    async with stage:
        supervisor = await stage.supervise(stage.worker("a"), stage.worker("b"))
        await stage.end((await stage.states(supervisor))["a"])
        refs = await stage.states(supervisor)
        describe = supervisor._actor.describe_child
        assert [describe(ref) for ref in refs.values()] == [("a", 1), ("b", 0)]
        assert describe(await stage.start(Idle)) == ("Idle", 0)


async def test_a_dynamic_supervisor_describes_its_children_while_they_are_stopped_too(
    stage: Any,
) -> None:
    async with stage:
        supervisor = await stage.dynamic()
        for name in "ab":
            stage.hold(name)
        a, b = [await supervisor.start_child(stage.trapper(name)) for name in "ab"]
        describe = supervisor._actor.describe_child
        assert (describe(a), describe(await stage.start(Idle))) == (("a", 0), ("Idle", 0))
        a.kill()
        (again,) = [row.ref for row in await supervisor.which_children() if row.spec.id == "a"]
        assert describe(again) == ("a", 1)
        terminated = supervisor.terminate_child(again)
        await stage.turns()
        assert describe(again) == ("a", 1)
        stage.gates["a"].release()
        await terminated
        assert describe(again) == ("Trapper", 0)
        supervisor.stop(block=False)
        await stage.turns()
        assert describe(b) == ("b", 0)
        stage.gates["b"].release()
        await supervisor.wait_stopped()


async def test_partitions_and_tasks_are_described_too(stage: Any) -> None:
    async with stage:
        partitions = await stage.start(PartitionSupervisor, Idle, partitions=2)
        describe = partitions._actor.describe_child
        assert [describe(partitions.partition(key)) for key in (0, 1)] == [(0, 0), (1, 0)]
        tasks = await stage.start(TaskSupervisor)
        task = await tasks.run(Gate().wait, link=False)
        assert tasks._actor.describe_child(task.ref) == ("Gate.wait", 0)
        await task.cancel()


async def test_a_child_that_starts_is_described_by_its_id(stage: Any) -> None:
    async with stage:
        described: list[Any] = []

        class Curious(Actor):
            def on_start(self) -> None:
                parent: Any = self.actor_ref._parent
                described.append(parent._actor.describe_child(self.actor_ref))

        supervisor = await stage.supervise(child(Curious, id="c", backoff=Backoff(jitter=0)))
        await stage.end((await stage.states(supervisor))["c"])
        await supervisor.which_children()
        stage.clock.advance(1.0)
        await supervisor.which_children()
        assert described == [("c", 0), ("c", 0)]
