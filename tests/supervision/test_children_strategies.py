"""Who else is concerned when a child ends: strategies, auto-shutdown, classification, back-off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN, Custom, ExitReason, Shutdown
from puckstream.supervision.action import ShutdownSelf
from puckstream.supervision.child import IGNORE, Backoff, ChildSpec, child

Boot = Callable[..., Any]  # the fixtures of conftest.py

CRASH, BROKEN = Custom("crash"), Custom("broken")
DONE = Shutdown("done")


class Worker:
    """Stands for an actor class."""


def spec(child_id: str, **options: Any) -> ChildSpec:
    return child(Worker, id=child_id, **options)


A, B, C, D = (spec(child_id) for child_id in "abcd")
T = spec("t", restart="temporary")

# ------------------------------------------------------------------------------------ strategies


@pytest.mark.parametrize(
    ("strategy", "dies", "expected"),
    [
        ("one_for_one", "a", ["start a2"]),
        ("one_for_one", "c", ["start c2"]),
        ("one_for_all", "a", ["stop d1", "stop c1", "stop b1",
                              "start a2", "start b2", "start c2", "start d2"]),
        ("one_for_all", "d", ["stop c1", "stop b1", "stop a1",
                              "start a2", "start b2", "start c2", "start d2"]),
        ("rest_for_one", "a", ["stop d1", "stop c1", "stop b1",
                               "start a2", "start b2", "start c2", "start d2"]),
        ("rest_for_one", "b", ["stop d1", "stop c1", "start b2", "start c2", "start d2"]),
        ("rest_for_one", "d", ["start d2"]),
    ],
)  # fmt: skip
def test_the_strategy_decides_who_is_restarted_with_a_child(
    booted: Boot, strategy: Any, dies: str, expected: list[str]
) -> None:
    """S24, S25, S26: stop in reverse order, start in order; places in the list stay."""
    shell = booted(A, B, C, D, strategy=strategy)
    assert shell.exit(f"{dies}1") == expected
    assert list(shell.states) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_temporary_siblings_of_a_group_restart_are_stopped_and_gone(
    booted: Boot, strategy: Any
) -> None:
    """S25, S26: ``temporary_bystander``."""
    shell = booted(A, T, C, strategy=strategy)
    assert shell.exit("a1") == ["stop c1", "stop t1", "start a2", "start c2"]
    assert shell.states == {"a": "a2", "c": "c2"}


def test_a_temporary_childs_own_end_restarts_nobody(booted: Boot) -> None:
    """S14: not even with one_for_all."""
    shell = booted(A, T, C, strategy="one_for_all")
    assert shell.exit("t1") == []
    assert shell.states == {"a": "a1", "c": "c1"}


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("one_for_one", ["start c2"]),
        ("one_for_all", ["stop d1", "start a2", "start b2", "start c2", "start d2"]),
        ("rest_for_one", ["stop d1", "start c2", "start d2"]),
    ],
)
def test_a_group_restart_also_starts_members_that_were_down(
    booted: Boot, strategy: Any, expected: list[str]
) -> None:
    """S25, S26: one_for_one leaves them down."""
    shell = booted(A, spec("b", restart="transient"), C, D, strategy=strategy)
    shell.run(shell.children.terminate_child("a"))
    shell.exit("b1", NORMAL)
    assert shell.exit("c1") == expected


def test_a_member_down_behind_the_dead_one_comes_back_with_the_rest(booted: Boot) -> None:
    """S26."""
    shell = booted(A, B, C, strategy="rest_for_one")
    shell.run(shell.children.terminate_child("c"))
    assert shell.exit("b1") == ["start b2", "start c2"]


def test_ignore_in_a_group_restart_leaves_that_child_down_and_goes_on(booted: Boot) -> None:
    """S25."""
    shell = booted(A, B, C, strategy="one_for_all")
    shell.will("b", IGNORE)
    assert shell.exit("a1") == ["stop c1", "stop b1", "start a2", "ignore b", "start c2"]
    assert shell.states == {"a": "a2", "b": "stopped", "c": "c2"}
    assert not shell.retries


def test_the_rest_is_who_stands_behind_in_the_list_not_who_started_later(booted: Boot) -> None:
    """S26: a child restarted by hand keeps its place."""
    shell = booted(A, B, C, strategy="rest_for_one")
    shell.run(shell.children.terminate_child("a"))
    shell.run(shell.children.restart_child("a"))
    assert shell.exit("b1") == ["stop c1", "start b2", "start c2"]
    assert shell.states["a"] == "a2"


def test_a_failing_one_for_all_is_retried_from_the_first_child(booted: Boot) -> None:
    """S27: what the failed attempt started runs until the next try begins."""
    shell = booted(A, B, C, strategy="one_for_all")
    shell.will("b", BROKEN)
    assert shell.exit("c1") == ["stop b1", "stop a1", "start a2", "fail b"]
    assert shell.states == {"a": "a2", "b": "restarting", "c": "stopped"}
    assert shell.retry() == ["stop a2", "start a3", "start b2", "start c2"]


def test_a_failing_rest_for_one_is_retried_from_the_failed_child(booted: Boot) -> None:
    """S27: the children before it in the rest keep running."""
    shell = booted(A, B, C, D, strategy="rest_for_one")
    shell.will("c", BROKEN)
    assert shell.exit("b1") == ["stop d1", "stop c1", "start b2", "fail c"]
    assert shell.states == {"a": "a1", "b": "b2", "c": "restarting", "d": "stopped"}
    assert shell.retry() == ["start c2", "start d2"]
    assert shell.states == {"a": "a1", "b": "b2", "c": "c2", "d": "d2"}


def test_a_child_restarted_by_hand_in_a_looping_group_is_stopped_by_the_next_try(
    booted: Boot,
) -> None:
    """S21: requests are served between two tries."""
    shell = booted(A, B, C, strategy="rest_for_one")
    shell.will("b", BROKEN)
    shell.exit("b1")
    assert shell.run(shell.children.restart_child("c")) == ["start c2"]
    assert shell.retry() == ["stop c2", "start b2", "start c3"]


def test_a_retry_that_was_overtaken_does_nothing(booted: Boot) -> None:
    """S21: another death restarted the group in the meantime."""
    shell = booted(A, B, strategy="one_for_all")
    shell.will("b", BROKEN)
    shell.exit("b1")
    assert shell.exit("a2") == ["start a3", "start b2"]
    counted = shell.children.restarts
    assert shell.retry() == []
    assert shell.children.restarts == counted


def test_two_failures_of_one_child_leave_one_retry_that_counts(booted: Boot) -> None:
    """S21: the older one has been overtaken by the newer one."""
    shell = booted(A, B, strategy="one_for_all")
    shell.will("b", BROKEN, BROKEN)
    shell.exit("b1")
    assert shell.exit("a2") == ["start a3", "fail b"]
    assert len(shell.retries) == 2
    assert shell.retry() == []
    assert shell.retry() == ["stop a3", "start a4", "start b2"]


# --------------------------------------------------------------------------------- auto-shutdown


def significant(child_id: str, restart: Any = "transient") -> ChildSpec:
    return spec(child_id, restart=restart, significant=True)


@pytest.mark.parametrize(
    ("restart", "reason", "ends"),
    [
        ("transient", NORMAL, True),
        ("transient", SHUTDOWN, True),
        ("transient", DONE, True),
        ("transient", CRASH, False),
        ("temporary", NORMAL, True),
        ("temporary", CRASH, True),
    ],
)
def test_any_significant_child_that_ends_for_good_ends_the_supervisor(
    booted: Boot, restart: Any, reason: ExitReason, ends: bool
) -> None:
    """S36, S37."""
    shell = booted(A, significant("b", restart), significant("c"), auto_shutdown="any_significant")
    shell.exit("b1", reason)
    expected = ShutdownSelf("auto_shutdown", "b", SHUTDOWN, reason) if ends else None
    assert shell.ended == expected


def test_an_insignificant_child_ends_nothing(booted: Boot) -> None:
    """S36."""
    shell = booted(
        spec("a", restart="transient"), significant("b"), auto_shutdown="any_significant"
    )
    shell.exit("a1", NORMAL)
    assert shell.ended is None


def test_all_significant_waits_for_the_last_one(booted: Boot) -> None:
    """S36: one that is restarting is still left."""
    shell = booted(
        significant("a"), significant("b"), significant("c"), D, auto_shutdown="all_significant"
    )
    shell.will("b", BROKEN)
    shell.exit("b1")
    shell.exit("a1", NORMAL)
    shell.exit("c1", NORMAL)
    assert shell.ended is None
    shell.retry()
    shell.exit("b2", NORMAL)
    assert shell.ended == ShutdownSelf("auto_shutdown", "b", SHUTDOWN, NORMAL)


def test_a_significant_child_between_two_attempts_to_start_is_left(booted: Boot) -> None:
    """S36: also one that had ended, and was to come back with its group."""
    shell = booted(
        significant("a"),
        B,
        significant("c"),
        strategy="one_for_all",
        auto_shutdown="all_significant",
    )
    shell.exit("a1", NORMAL)
    shell.will("a", BROKEN)
    assert shell.exit("b1") == ["stop c1", "fail a"]
    shell.run(shell.children.restart_child("c"))
    assert shell.exit("c2", NORMAL) == []
    assert shell.ended is None
    assert shell.retry() == ["start a2", "start b2", "start c3"]


def test_significant_children_that_never_ran_or_were_terminated_are_not_waited_for(
    shell_of: Boot,
) -> None:
    """S36: the last one is the last that runs."""
    shell = shell_of(
        significant("a"), significant("b"), significant("c"), auto_shutdown="all_significant"
    )
    shell.will("a", IGNORE)
    shell.run(shell.children.start_all())
    shell.run(shell.children.terminate_child("b"))
    assert shell.ended is None
    shell.exit("c1", NORMAL)
    assert shell.ended is not None


@pytest.mark.parametrize("auto_shutdown", ["any_significant", "all_significant"])
def test_terminating_a_significant_child_ends_nothing_but_a_later_one_does(
    booted: Boot, auto_shutdown: Any
) -> None:
    """S34, S36, S37."""
    shell = booted(significant("a"), B, auto_shutdown=auto_shutdown)
    shell.run(shell.children.terminate_child("a"))
    assert shell.ended is None
    shell.run(shell.children.add_child(significant("n", "temporary")))
    shell.exit("n1", NORMAL)
    assert shell.ended is not None


@pytest.mark.parametrize("restart", ["transient", "temporary"])
def test_a_significant_bystander_of_a_group_restart_ends_nothing(
    booted: Boot, restart: Any
) -> None:
    """S37: ``significant_bystander``."""
    shell = booted(
        A, significant("b", restart), strategy="one_for_all", auto_shutdown="any_significant"
    )
    shell.exit("a1")
    assert shell.ended is None


def test_a_significant_childs_ignored_restart_ends_nothing(booted: Boot) -> None:
    """S36."""
    shell = booted(significant("a"), auto_shutdown="any_significant")
    shell.will("a", IGNORE)
    shell.exit("a1")
    assert (shell.ended, shell.states) == (None, {"a": "stopped"})


# -------------------------------------------------------------------------------- classification


def classify(reason: Any) -> Any:
    return {CRASH: "restart", KILLED: "stop", BROKEN: "escalate"}[reason]


def test_a_classifier_can_leave_a_child_down(booted: Boot) -> None:
    """Classification: ``stop`` keeps the spec, and the crash is still reported."""
    shell = booted(A, B, strategy="one_for_all", classify=classify)
    assert shell.exit("a1", KILLED) == []
    assert shell.states == {"a": "stopped", "b": "b1"}
    assert shell.reports == [("child_terminated", "a", "a1", KILLED)]
    assert shell.children.restarts == ()


def test_a_classifier_can_end_the_supervisor_with_the_childs_reason(booted: Boot) -> None:
    """Classification: the parent sees what happened, not ``shutdown``."""
    shell = booted(A, B, classify=classify)
    assert shell.exit("a1", BROKEN) == []
    assert shell.ended == ShutdownSelf("escalated", "a", BROKEN, BROKEN)
    assert shell.run(shell.children.stop_all()) == ["stop b1"]


def test_a_significant_child_left_down_by_a_classifier_has_ended(booted: Boot) -> None:
    """Classification, S36."""
    shell = booted(significant("a"), auto_shutdown="any_significant", classify=classify)
    shell.exit("a1", KILLED)
    assert shell.ended == ShutdownSelf("auto_shutdown", "a", SHUTDOWN, KILLED)


# -------------------------------------------------------------------------------------- back-off

SLOW = spec("a", backoff=Backoff(min=1.0, max=4.0, jitter=0.5, reset_after=10.0))


def test_backoff_delays_a_restart_and_counts_it_when_it_is_made(booted: Boot) -> None:
    """Back-off: requests are served meanwhile."""
    shell = booted(SLOW, B, intensity=5)
    assert shell.exit("a1") == []
    assert shell.states == {"a": "restarting", "b": "b1"}
    assert shell.children.restarts == ()
    assert (shell.retries[0].delay(0.0), shell.retries[0].delay(1.0)) == (1.0, 0.5)
    shell.now = 1.0
    assert shell.retry() == ["start a2"]
    assert shell.children.restarts == (1.0,)


def test_backoff_grows_with_each_try_and_starts_over_after_a_long_life(booted: Boot) -> None:
    """Back-off: failed starts and short lives alike."""
    shell = booted(SLOW, intensity=100)
    delays: list[float] = []
    shell.will("a", BROKEN)
    shell.exit("a1")
    delays.append(shell.retries[0].delay(0.0))
    shell.retry()
    delays.append(shell.retries[0].delay(0.0))
    shell.retry()
    for life in (9.0, 9.0, 10.0):
        shell.now += life
        shell.exit(shell.states["a"])
        delays.append(shell.retries[0].delay(0.0))
        shell.retry()
    assert delays == [1.0, 2.0, 4.0, 4.0, 1.0]


def test_backoff_delays_the_whole_group_restart(booted: Boot) -> None:
    """Back-off: the siblings are stopped when the attempt is made."""
    shell = booted(SLOW, B, strategy="one_for_all")
    assert shell.exit("a1") == []
    assert shell.states["b"] == "b1"
    assert shell.retry() == ["stop b1", "start a2", "start b2"]


def test_a_child_that_waits_is_terminated_or_restarted_with_its_group(booted: Boot) -> None:
    """Back-off, S39: the retry finds nothing to do."""
    shell = booted(SLOW, B, strategy="one_for_all")
    shell.exit("a1")
    assert shell.exit("b1") == ["start a2", "start b2"]
    assert shell.retry() == []
    shell.exit("a2")
    assert shell.run(shell.children.terminate_child("a")) == []
    assert shell.retry() == []
    assert shell.states == {"a": "stopped", "b": "b2"}


def test_backoff_does_not_protect_from_burn_out(booted: Boot) -> None:
    """Back-off: each attempt counts."""
    shell = booted(SLOW, intensity=1, period=60.0)
    shell.exit("a1")
    shell.retry()
    shell.exit("a2")
    assert shell.retry() == []
    assert shell.ended == ShutdownSelf("restart_intensity", "a", SHUTDOWN, CRASH)
