"""The children of a static supervisor: how they start, end, burn out and are stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN, Custom, ExitReason, Shutdown
from puckstream.errors import (
    InvalidSpec,
)
from puckstream.supervision.action import Report, Retry, ShutdownSelf, Start, Stop
from puckstream.supervision.child import IGNORE, ChildSpec, child

Boot = Callable[..., Any]  # the fixtures of conftest.py

CRASH, BROKEN = Custom("crash"), Custom("broken")
DONE = Shutdown("done")


class Worker:
    """Stands for an actor class."""


def spec(child_id: str, **options: Any) -> ChildSpec:
    return child(Worker, id=child_id, **options)


A, B, C, D = (spec(child_id) for child_id in "abcd")
T = spec("t", restart="temporary")

# ------------------------------------------------------------------------------------- starting


def test_children_start_one_after_the_other_in_the_order_of_the_list(shell_of: Boot) -> None:
    """S8."""
    shell = shell_of(A, B, C)
    assert shell.states == {"a": "stopped", "b": "stopped", "c": "stopped"}
    assert shell.run(shell.children.start_all()) == ["start a1", "start b1", "start c1"]
    assert shell.states == {"a": "a1", "b": "b1", "c": "c1"}


def test_the_next_child_is_not_started_before_the_last_one_is_up(shell_of: Boot) -> None:
    """S8: one action at a time asks for an answer."""
    children = shell_of(A, B).children
    assert children.start_all() == (Start(A),)
    assert children.started("a1", 0.0) == (Start(B),)
    assert children.busy
    assert children.started("b1", 0.0) == ()
    assert not children.busy


@pytest.mark.parametrize(
    ("restart", "expected"),
    [("permanent", "stopped"), ("transient", "stopped"), ("temporary", None)],
)
def test_an_ignored_child_keeps_its_spec_unless_temporary(
    shell_of: Boot, restart: Any, expected: str | None
) -> None:
    """S10: ignore is no failure, and the next child starts."""
    shell = shell_of(spec("a", restart=restart), B)
    shell.will("a", IGNORE)
    assert shell.run(shell.children.start_all()) == ["ignore a", "start b1"]
    assert shell.states.get("a") == expected
    assert not shell.reports


def test_a_failing_first_start_ends_the_supervisor_and_stops_what_runs_in_reverse(
    shell_of: Boot,
) -> None:
    """S11."""
    shell = shell_of(A, B, C, D)
    shell.will("c", BROKEN)
    assert shell.run(shell.children.start_all()) == ["start a1", "start b1", "fail c"]
    assert shell.ended == ShutdownSelf("start_failed", "c", SHUTDOWN, BROKEN)
    assert shell.reports == [("start_error", "c", None, BROKEN)]
    assert shell.run(shell.children.stop_all()) == ["stop b1", "stop a1"]


def test_wrong_specs_are_refused_before_anything_starts(shell_of: Boot) -> None:
    """S4, S5."""
    with pytest.raises(InvalidSpec):
        shell_of(A, A)
    with pytest.raises(InvalidSpec):
        shell_of(spec("a", restart="transient", significant=True))


# -------------------------------------------------------------------------- what an exit leads to


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, DONE, CRASH, KILLED])
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_an_exit_restarts_or_leaves_the_child_as_its_restart_type_says(
    booted: Boot, restart: Any, reason: ExitReason
) -> None:
    """S14, S15, S16: a transient spec is kept, a temporary one is not."""
    shell = booted(A, spec("b", restart=restart), C)
    restarted = restart == "permanent" or (restart == "transient" and not reason.expected)
    assert shell.exit("b1", reason) == (["start b2"] if restarted else [])
    left = {"permanent": "b2", "transient": "b2" if restarted else "stopped", "temporary": None}
    assert shell.states.get("b") == left[restart]
    assert (shell.states["a"], shell.states["c"]) == ("a1", "c1")
    reported = restart == "permanent" or not reason.expected
    assert shell.reports == ([("child_terminated", "b", "b1", reason)] if reported else [])


def test_an_exit_of_a_stranger_is_nothing(booted: Boot) -> None:
    """S17: whatever the reason; the old ref of a restarted child is a stranger too."""
    shell = booted(A)
    shell.exit("a1")
    shell.reports.clear()
    assert shell.exit("a1") == []
    assert shell.exit("nobody", KILLED) == []
    assert not shell.reports


def test_arguments_of_a_temporary_child_are_forgotten_once_it_runs(shell_of: Boot) -> None:
    """S18: the first start has them."""
    secret = object()
    wanted = child(Worker, secret, id="a", restart="temporary", key=secret)
    kept = child(Worker, secret, id="b")
    children = shell_of(wanted, kept).children
    assert children.start_all() == (Start(wanted),)
    children.started("a1", 0.0)
    children.started("b1", 0.0)
    assert (children.row("a").spec.args, children.row("a").spec.kwargs) == ((), {})
    assert children.row("b").spec is kept


# ------------------------------------------------------------------------------ restart intensity


def test_one_restart_more_than_intensity_ends_the_supervisor_with_shutdown(booted: Boot) -> None:
    """S19, S22: the offender is down, the others are stopped in reverse order."""
    shell = booted(A, B, C, intensity=2, period=5.0)
    assert shell.exit("b1") == ["start b2"]
    assert shell.exit("b2") == ["start b3"]
    assert shell.exit("b3") == []
    assert shell.ended == ShutdownSelf("restart_intensity", "b", SHUTDOWN, CRASH)
    assert shell.reports[-2:] == [
        ("child_terminated", "b", "b3", CRASH),
        ("reached_max_restart_intensity", "b", None, CRASH),
    ]
    assert shell.states == {"a": "a1", "b": "stopped", "c": "c1"}
    assert shell.run(shell.children.stop_all()) == ["stop c1", "stop a1"]


def test_the_restart_counter_belongs_to_the_supervisor(booted: Boot) -> None:
    """S20: different children use up one allowance."""
    shell = booted(A, B, intensity=1)
    shell.exit("a1")
    shell.exit("b1")
    assert shell.ended is not None


def test_a_group_restart_counts_once(booted: Boot) -> None:
    """S20."""
    shell = booted(A, B, C, strategy="one_for_all", intensity=1)
    shell.exit("a1")
    assert (shell.children.restarts, shell.children.restart_count) == ((0.0,), 1)
    assert [row.restarts for row in shell.children.rows()] == [1, 1, 1]


def test_restarts_older_than_the_period_are_forgiven(booted: Boot) -> None:
    """S19."""
    shell = booted(A, intensity=1, period=5.0)
    for shell.now in (1.0, 7.0, 13.0):
        shell.exit(shell.states["a"])
    assert shell.ended is None


def test_intensity_zero_allows_no_restart(booted: Boot) -> None:
    """S19."""
    shell = booted(A, intensity=0)
    assert shell.exit("a1") == []
    assert shell.ended is not None


def test_a_failing_restart_is_tried_again_behind_other_requests_and_counts_each_time(
    booted: Boot,
) -> None:
    """S21: the child shows as restarting in between."""
    shell = booted(A, B, intensity=3)
    shell.will("a", BROKEN, BROKEN)
    assert shell.exit("a1") == ["fail a"]
    assert shell.reports[-1] == ("start_error", "a", None, BROKEN)
    assert shell.states == {"a": "restarting", "b": "b1"}
    assert shell.children.counts().active == 1
    assert not shell.children.busy
    assert shell.retries[0].delay(0.5) == 0.0
    assert shell.retry() == ["fail a"]
    assert shell.retry() == ["start a2"]
    assert len(shell.children.restarts) == 3
    assert shell.states == {"a": "a2", "b": "b1"}


def test_a_restart_that_keeps_failing_burns_the_supervisor_out(booted: Boot) -> None:
    """S21, S22: the reason of the last attempt is told."""
    shell = booted(A, intensity=2)
    shell.will("a", BROKEN, BROKEN)
    shell.exit("a1")
    shell.retry()
    assert shell.retry() == []
    assert shell.ended == ShutdownSelf("restart_intensity", "a", SHUTDOWN, BROKEN)
    assert shell.states == {"a": "stopped"}


def test_a_retry_is_good_for_one_attempt(booted: Boot) -> None:
    """S21: coming back with it once more restarts no running child."""
    shell = booted(A)
    shell.will("a", BROKEN)
    shell.exit("a1")
    shell.retries.append(shell.retries[0])
    assert shell.retry() == ["start a2"]
    assert shell.retry() == []


def test_a_restart_that_is_ignored_is_over(booted: Boot) -> None:
    """S10: no retry, the spec is kept."""
    shell = booted(A)
    shell.will("a", IGNORE)
    assert shell.exit("a1") == ["ignore a"]
    assert shell.states == {"a": "stopped"}
    assert not shell.retries


# ------------------------------------------------------------- deaths while others are at work


def test_a_death_during_a_group_stop_is_not_asked_for_again(booted: Boot) -> None:
    """S33: a child that dies while its sibling is being stopped is reported, and comes back."""
    children = booted(A, B, C, strategy="one_for_all").children
    assert children.exited("a1", CRASH, 0.0)[-1] == Stop(C, "c1")
    assert children.exited("b1", CRASH, 0.0) == ()
    assert children.stopped(SHUTDOWN) == (
        Report("shutdown_error", "b", "b1", CRASH),
        Start(A, again=True),
    )
    assert children.started("a2", 0.0) == (Start(B, again=True),)
    assert children.started("b2", 0.0) == (Start(C, again=True),)
    assert children.started("c2", 0.0) == ()


def test_a_death_during_a_group_start_is_decided_afterwards(booted: Boot) -> None:
    """S14: it is a restart of its own."""
    children = booted(A, B, strategy="one_for_all").children
    assert children.exited("b1", CRASH, 0.0)[-1] == Stop(A, "a1")
    assert children.stopped(SHUTDOWN) == (Start(A, again=True),)
    assert children.started("a2", 0.0) == (Start(B, again=True),)
    assert children.exited("a2", BROKEN, 0.0) == ()
    assert children.started("b2", 0.0) == (
        Report("child_terminated", "a", "a2", BROKEN, restarts=1),
        Stop(B, "b2"),
    )
    assert children.restart_count == 2


def test_deaths_that_waited_are_decided_one_after_the_other(booted: Boot) -> None:
    """S24: none is lost."""
    children = booted(A, B, C).children
    children.exited("a1", CRASH, 0.0)
    assert children.exited("c1", CRASH, 0.0) == ()
    assert children.exited("b1", CRASH, 0.0) == ()
    assert children.started("a2", 0.0)[-1] == Start(C, again=True)
    assert children.started("c2", 0.0)[-1] == Start(B, again=True)
    assert children.started("b2", 0.0) == ()


def test_a_death_that_waited_is_decided_after_a_failed_restart_too(booted: Boot) -> None:
    """S21."""
    children = booted(A, B).children
    children.exited("a1", CRASH, 0.0)
    children.exited("b1", CRASH, 0.0)
    failure, retry, death, start = children.failed(BROKEN)
    assert failure == Report("start_error", "a", None, BROKEN)
    assert isinstance(retry, Retry)
    assert death == Report("child_terminated", "b", "b1", CRASH)
    assert start == Start(B, again=True)


def test_the_exit_of_a_child_that_is_being_stopped_answers_the_stop(booted: Boot) -> None:
    """S30: a shell may hear of it either way."""
    children = booted(A, B).children
    assert children.stop_all() == (Stop(B, "b1"),)
    assert children.exited("b1", SHUTDOWN, 0.0) == (Stop(A, "a1"),)
    assert children.exited("a1", CRASH, 0.0) == (Report("shutdown_error", "a", "a1", CRASH),)
    assert not children.busy


# -------------------------------------------------------------------------------------- stopping


def test_stopping_goes_through_the_list_in_reverse_one_at_a_time(booted: Boot) -> None:
    """S30."""
    shell = booted(A, B, T, C)
    shell.run(shell.children.terminate_child("b"))
    assert shell.run(shell.children.stop_all()) == ["stop c1", "stop t1", "stop a1"]
    assert shell.children.counts().active == 0
    assert shell.exit("a1") == []


def test_stopping_interrupts_what_is_under_way(booted: Boot) -> None:
    """S35: the `Stop` in progress is asked for again, the restart is not made."""
    children = booted(A, B, C, strategy="one_for_all").children
    assert children.exited("c1", CRASH, 0.0)[-1] == Stop(B, "b1")
    assert children.stop_all() == (Stop(B, "b1"),)
    assert children.stopped(SHUTDOWN) == (Stop(A, "a1"),)
    assert children.stopped(SHUTDOWN) == ()


def test_a_pending_retry_does_not_outlive_the_supervisor(booted: Boot) -> None:
    """S39."""
    shell = booted(A, B)
    shell.will("a", BROKEN)
    shell.exit("a1")
    assert shell.run(shell.children.stop_all()) == ["stop b1"]
    assert shell.retry() == []


def test_a_death_after_the_end_restarts_nothing_and_is_reported_by_the_stop(booted: Boot) -> None:
    """S33."""
    shell = booted(A, B, intensity=0)
    shell.exit("a1")
    assert shell.exit("b1") == []
    assert shell.run(shell.children.stop_all()) == []
    assert shell.reports[-1] == ("shutdown_error", "b", "b1", CRASH)


@pytest.mark.parametrize(
    ("options", "reason", "reported"),
    [
        ({}, SHUTDOWN, False),
        ({}, NORMAL, True),
        ({}, DONE, True),
        ({}, KILLED, True),
        ({"shutdown": "brutal_kill"}, KILLED, False),
        ({"shutdown": "brutal_kill"}, CRASH, True),
        ({"restart": "transient"}, NORMAL, False),
        ({"restart": "temporary"}, DONE, False),
        ({"restart": "temporary"}, CRASH, True),
    ],
)
def test_a_child_that_ends_otherwise_than_asked_is_reported_and_stops_nothing(
    booted: Boot, options: dict[str, Any], reason: ExitReason, reported: bool
) -> None:
    """S31, S33."""
    shell = booted(A, spec("b", **options), C)
    shell.next_stops["b1"] = reason
    assert shell.run(shell.children.stop_all()) == ["stop c1", "stop b1", "stop a1"]
    assert shell.reports == ([("shutdown_error", "b", "b1", reason)] if reported else [])


# ------------------------------------------------------------------------------ bugs of a shell


def test_a_wrong_answer_or_a_request_out_of_turn_is_an_error(booted: Boot) -> None:
    """A supervisor actor that breaks the rules hears of it at once."""
    children = booted(A, B).children
    for answer in (
        lambda: children.started("x", 0.0),
        children.ignored,
        lambda: children.failed(CRASH),
        lambda: children.stopped(CRASH),
    ):
        with pytest.raises(RuntimeError, match="answers nothing"):
            answer()
    children.terminate_child("a")
    with pytest.raises(RuntimeError, match="answers nothing"):
        children.started("x", 0.0)
    for request in (
        lambda: children.terminate_child("b"),
        lambda: children.restart_child("b"),
        lambda: children.delete_child("b"),
        lambda: children.add_child(C),
        children.start_all,
    ):
        with pytest.raises(RuntimeError, match="busy"):
            request()
    assert children.stopped(SHUTDOWN) == ()
    assert [row.ref for row in children.rows()] == [None, "b1"]


def test_a_restart_touches_only_the_child_it_is_about(booted: Boot) -> None:
    """W7: rows of the other children are what they were."""
    shell = booted(*(spec(f"{number}-") for number in range(50)))
    before = shell.children.rows()
    shell.exit("7-1")
    after = shell.children.rows()
    assert [number for number in range(50) if before[number] != after[number]] == [7]
