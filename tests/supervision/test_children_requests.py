"""The requests a static supervisor serves between two decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from puckstream.actors.signals import Custom
from puckstream.errors import (
    ChildNotFound,
    ChildPresent,
    ChildRestarting,
    ChildRunning,
    InvalidSpec,
)
from puckstream.supervision.child import IGNORE, ChildSpec, child

Boot = Callable[..., Any]  # the fixtures of conftest.py

CRASH, BROKEN = Custom("crash"), Custom("broken")


class Worker:
    """Stands for an actor class."""


def spec(child_id: str, **options: Any) -> ChildSpec:
    return child(Worker, id=child_id, **options)


A, B, C, D = (spec(child_id) for child_id in "abcd")
T = spec("t", restart="temporary")


def significant(child_id: str, restart: Any = "transient") -> ChildSpec:
    return spec(child_id, restart=restart, significant=True)


# ---------------------------------------------------------------------------------------- admin


def test_an_added_child_starts_behind_the_others(booted: Boot) -> None:
    """start_child; it takes part in everything from then on."""
    shell = booted(A, B, strategy="rest_for_one")
    assert shell.run(shell.children.add_child(C)) == ["start c1"]
    assert shell.exit("b1") == ["stop c1", "start b2", "start c2"]


@pytest.mark.parametrize(("outcome", "kept"), [(BROKEN, False), (IGNORE, True)])
def test_an_added_child_that_fails_is_dropped_and_an_ignored_one_is_kept(
    booted: Boot, outcome: Any, kept: bool
) -> None:
    """start_child: a failure is the caller's to hear; there is no report and no retry."""
    shell = booted(A)
    shell.will("b", outcome)
    shell.run(shell.children.add_child(B))
    assert ("b" in shell.states) is kept
    assert (shell.reports, len(shell.retries), shell.ended) == ([], 0, None)


def looping(booted: Boot) -> Any:
    """A runs, b is stopped, c is restarting."""
    shell = booted(A, B, C)
    shell.run(shell.children.terminate_child("b"))
    shell.will("c", BROKEN)
    shell.exit("c1")
    return shell


@pytest.mark.parametrize(
    ("call", "argument", "error"),
    [
        ("add_child", A, ChildRunning),
        ("add_child", B, ChildPresent),
        ("add_child", C, ChildPresent),
        ("add_child", significant("n"), InvalidSpec),
        ("restart_child", "a", ChildRunning),
        ("restart_child", "c", ChildRestarting),
        ("restart_child", "n", ChildNotFound),
        ("delete_child", "a", ChildRunning),
        ("delete_child", "c", ChildRestarting),
        ("delete_child", "n", ChildNotFound),
        ("terminate_child", "n", ChildNotFound),
        ("row", "n", ChildNotFound),
    ],
)
def test_a_request_that_cannot_be_met_changes_nothing(
    booted: Boot, call: str, argument: Any, error: type[Exception]
) -> None:
    """S39 and the table of return shapes."""
    shell = looping(booted)
    before = shell.states
    with pytest.raises(error):
        getattr(shell.children, call)(argument)
    assert shell.states == before == {"a": "a1", "b": "stopped", "c": "restarting"}
    assert not shell.children.busy
    assert shell.retry() == ["start c2"]


def test_a_running_childs_actor_is_named_in_the_refusal(booted: Boot) -> None:
    """``{error,{already_started,Pid}}``."""
    with pytest.raises(ChildRunning) as caught:
        booted(A).children.add_child(A)
    assert caught.value.ref == "a1"


def test_terminating_a_child_keeps_its_spec_and_restarts_nothing(booted: Boot) -> None:
    """S34: done twice it is done."""
    shell = booted(A, B, strategy="one_for_all")
    assert shell.run(shell.children.terminate_child("a")) == ["stop a1"]
    assert shell.run(shell.children.terminate_child("a")) == []
    assert shell.states == {"a": "stopped", "b": "b1"}
    assert shell.children.restarts == ()


def test_terminating_a_temporary_child_deletes_its_spec(booted: Boot) -> None:
    """S34: the second call finds nothing."""
    shell = booted(A, T)
    assert shell.run(shell.children.terminate_child("t")) == ["stop t1"]
    with pytest.raises(ChildNotFound):
        shell.children.terminate_child("t")


def test_terminating_a_restarting_child_ends_the_loop(booted: Boot) -> None:
    """S39: ``hanging_restart_loop``."""
    shell = looping(booted)
    assert shell.run(shell.children.terminate_child("c")) == []
    assert shell.retry() == []
    assert shell.states["c"] == "stopped"


def test_a_stopped_child_is_restarted_by_hand_without_being_counted(booted: Boot) -> None:
    """restart_child; a failure leaves it as it was."""
    shell = looping(booted)
    shell.will("b", BROKEN)
    counted = shell.children.restarts
    assert shell.run(shell.children.restart_child("b")) == ["fail b"]
    assert shell.states["b"] == "stopped"
    assert shell.run(shell.children.restart_child("b")) == ["start b2"]
    assert shell.children.restarts == counted
    assert shell.children.row("b").restarts == 0


def test_a_deleted_child_is_gone_and_may_come_back_as_a_new_one(booted: Boot) -> None:
    """delete_child."""
    shell = looping(booted)
    shell.children.delete_child("b")
    assert list(shell.states) == ["a", "c"]
    shell.run(shell.children.add_child(B))
    assert list(shell.states) == ["a", "c", "b"]


def test_children_are_counted_dead_or_alive_and_active_ones_apart(booted: Boot) -> None:
    """count_children."""
    shell = looping(booted)
    shell.run(shell.children.add_child(spec("s", type="supervisor")))
    counts = shell.children.counts()
    assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (4, 2, 1, 3)


def test_a_row_tells_where_a_child_stands(booted: Boot) -> None:
    """which_child."""
    shell = booted(A)
    shell.now = 2.0
    shell.exit("a1")
    row = shell.children.row("a")
    assert (row.spec, row.ref, row.state) == (A, "a2", "running")
    assert (row.restarts, row.started_at) == (1, 2.0)
