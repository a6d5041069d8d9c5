"""The children of a static supervisor, driven by a shell that starts and stops nothing."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Any

import pytest

from puckstream.errors import (
    ChildNotFound,
    ChildPresent,
    ChildRestarting,
    ChildRunning,
    InvalidSpec,
)
from puckstream.supervision.action import Actions, Report, Retry, ShutdownSelf, Start, Stop
from puckstream.supervision.child import IGNORE, Backoff, ChildSpec, Flags, child
from puckstream.supervision.children import Children


@dataclass(frozen=True)
class Exit:
    kind: str

    @property
    def normal(self) -> bool:
        return self.kind == "normal"

    @property
    def expected(self) -> bool:
        return self.kind in {"normal", "shutdown", "shutdown:done"}


NORMAL, SHUTDOWN, DONE = Exit("normal"), Exit("shutdown"), Exit("shutdown:done")
CRASH, KILLED, BROKEN = Exit("crash"), Exit("killed"), Exit("broken")


class Worker:
    """Stands for an actor class."""


class Shell:
    """Carries actions out: refs are ``a1``, ``a2``, …; starts and stops do as they are told."""

    def __init__(self, *specs: ChildSpec, classify: Any = None, **flags: Any) -> None:
        flags = {"intensity": 100, **flags}
        self.children: Children[str, Exit] = Children(
            Flags(**flags), specs, shutdown=SHUTDOWN, killed=KILLED, classify=classify
        )
        self.now = 0.0
        self.log: list[str] = []
        self.reports: list[tuple[Any, ...]] = []
        self.retries: deque[Retry] = deque()
        self.ended: ShutdownSelf[Exit] | None = None
        self.next_starts: defaultdict[Any, deque[Any]] = defaultdict(deque)
        self.next_stops: dict[str, Exit] = {}
        self.generations: defaultdict[Any, int] = defaultdict(int)

    def will(self, child_id: str, *outcomes: Any) -> None:
        """Queue what the next starts of a child come to: a failure, or IGNORE."""
        self.next_starts[child_id].extend(outcomes)

    def run(self, actions: Actions[str, Exit]) -> list[str]:
        """Carry out ``actions`` and what follows; return the log of this run."""
        done = len(self.log)
        while actions:
            *before, last = actions
            assert not any(isinstance(action, (Start, Stop)) for action in before)
            for action in actions:
                self.note(action)
            actions = self.answer(last)
        assert not self.children.busy or self.children.ended
        return self.log[done:]

    def note(self, action: Any) -> None:
        match action:
            case Report(kind, child_id, ref, reason):
                self.reports.append((kind, child_id, ref, reason))
            case Retry():
                self.retries.append(action)
            case ShutdownSelf():
                assert self.ended is None
                self.ended = action
            case _:
                pass

    def answer(self, action: Any) -> Actions[str, Exit]:
        match action:
            case Start(spec):
                outcomes = self.next_starts[spec.id]
                outcome = outcomes.popleft() if outcomes else None
                if outcome is IGNORE:
                    self.log.append(f"ignore {spec.id}")
                    return self.children.ignored()
                if outcome is not None:
                    self.log.append(f"fail {spec.id}")
                    return self.children.failed(outcome)
                self.generations[spec.id] += 1
                ref = f"{spec.id}{self.generations[spec.id]}"
                self.log.append(f"start {ref}")
                return self.children.started(ref, self.now)
            case Stop(spec, ref):
                self.log.append(f"stop {ref}")
                asked = KILLED if spec.shutdown == "brutal_kill" else SHUTDOWN
                return self.children.stopped(self.next_stops.pop(ref, asked))
            case _:
                return ()

    def exit(self, ref: str, reason: Exit = CRASH) -> list[str]:
        return self.run(self.children.exited(ref, reason, self.now))

    def retry(self) -> list[str]:
        return self.run(self.children.try_again(self.retries.popleft(), self.now))

    @property
    def states(self) -> dict[Any, str]:
        return {row.spec.id: row.ref or row.state for row in self.children.rows()}


def booted(*specs: ChildSpec, **options: Any) -> Shell:
    shell = Shell(*specs, **options)
    shell.run(shell.children.start_all())
    return shell


def spec(child_id: str, **options: Any) -> ChildSpec:
    return child(Worker, id=child_id, **options)


A, B, C, D = (spec(child_id) for child_id in "abcd")

# ------------------------------------------------------------------------------------- starting


def test_children_start_one_after_the_other_in_the_order_of_the_list() -> None:
    """S8."""
    shell = Shell(A, B, C)
    assert shell.states == {"a": "stopped", "b": "stopped", "c": "stopped"}
    assert shell.run(shell.children.start_all()) == ["start a1", "start b1", "start c1"]
    assert shell.states == {"a": "a1", "b": "b1", "c": "c1"}


def test_the_next_child_is_not_started_before_the_last_one_is_up() -> None:
    """S8: one action at a time asks for an answer."""
    children = Shell(A, B).children
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
    restart: Any, expected: str | None
) -> None:
    """S10: ignore is no failure, and the next child starts."""
    shell = Shell(spec("a", restart=restart), B)
    shell.will("a", IGNORE)
    assert shell.run(shell.children.start_all()) == ["ignore a", "start b1"]
    assert shell.states.get("a") == expected
    assert not shell.reports


def test_a_failing_first_start_ends_the_supervisor_and_stops_what_runs_in_reverse() -> None:
    """S11."""
    shell = Shell(A, B, C, D)
    shell.will("c", BROKEN)
    assert shell.run(shell.children.start_all()) == ["start a1", "start b1", "fail c"]
    assert shell.ended == ShutdownSelf("start_failed", "c", SHUTDOWN, BROKEN)
    assert shell.reports == [("start_error", "c", None, BROKEN)]
    assert shell.run(shell.children.stop_all()) == ["stop b1", "stop a1"]


def test_wrong_specs_are_refused_before_anything_starts() -> None:
    """S4, S5."""
    with pytest.raises(InvalidSpec):
        Shell(A, A)
    with pytest.raises(InvalidSpec):
        Shell(spec("a", restart="transient", significant=True))


# -------------------------------------------------------------------------- what an exit leads to


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, DONE, CRASH, KILLED])
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_an_exit_restarts_or_leaves_the_child_as_its_restart_type_says(
    restart: Any, reason: Exit
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


def test_an_exit_of_a_stranger_is_nothing() -> None:
    """S17: whatever the reason; the old ref of a restarted child is a stranger too."""
    shell = booted(A)
    shell.exit("a1")
    shell.reports.clear()
    assert shell.exit("a1") == []
    assert shell.exit("nobody", KILLED) == []
    assert not shell.reports


def test_arguments_of_a_temporary_child_are_forgotten_once_it_runs() -> None:
    """S18: the first start has them."""
    secret = object()
    wanted = child(Worker, secret, id="a", restart="temporary", key=secret)
    kept = child(Worker, secret, id="b")
    children = Shell(wanted, kept).children
    assert children.start_all() == (Start(wanted),)
    children.started("a1", 0.0)
    children.started("b1", 0.0)
    assert (children.row("a").spec.args, children.row("a").spec.kwargs) == ((), {})
    assert children.row("b").spec is kept


# ------------------------------------------------------------------------------ restart intensity


def test_one_restart_more_than_intensity_ends_the_supervisor_with_shutdown() -> None:
    """S19, S22: the offender is down, the others are stopped in reverse order."""
    shell = booted(A, B, C, intensity=2, period=5.0)
    assert shell.exit("b1") == ["start b2"]
    assert shell.exit("b2") == ["start b3"]
    assert shell.exit("b3") == []
    assert shell.ended == ShutdownSelf("restart_intensity", "b", SHUTDOWN, CRASH)
    assert shell.reports[-2:] == [
        ("child_terminated", "b", "b3", CRASH),
        ("restart_intensity", "b", None, CRASH),
    ]
    assert shell.states == {"a": "a1", "b": "stopped", "c": "c1"}
    assert shell.run(shell.children.stop_all()) == ["stop c1", "stop a1"]


def test_the_restart_counter_belongs_to_the_supervisor() -> None:
    """S20: different children use up one allowance."""
    shell = booted(A, B, intensity=1)
    shell.exit("a1")
    shell.exit("b1")
    assert shell.ended is not None


def test_a_group_restart_counts_once() -> None:
    """S20."""
    shell = booted(A, B, C, strategy="one_for_all", intensity=1)
    shell.exit("a1")
    assert (shell.children.restarts, shell.children.restart_count) == ((0.0,), 1)
    assert [row.restarts for row in shell.children.rows()] == [1, 1, 1]


def test_restarts_older_than_the_period_are_forgiven() -> None:
    """S19."""
    shell = booted(A, intensity=1, period=5.0)
    for shell.now in (1.0, 7.0, 13.0):
        shell.exit(shell.states["a"])
    assert shell.ended is None


def test_intensity_zero_allows_no_restart() -> None:
    """S19."""
    shell = booted(A, intensity=0)
    assert shell.exit("a1") == []
    assert shell.ended is not None


def test_a_failing_restart_is_tried_again_behind_other_requests_and_counts_each_time() -> None:
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


def test_a_restart_that_keeps_failing_burns_the_supervisor_out() -> None:
    """S21, S22: the reason of the last attempt is told."""
    shell = booted(A, intensity=2)
    shell.will("a", BROKEN, BROKEN)
    shell.exit("a1")
    shell.retry()
    assert shell.retry() == []
    assert shell.ended == ShutdownSelf("restart_intensity", "a", SHUTDOWN, BROKEN)


def test_a_restart_that_is_ignored_is_over() -> None:
    """S10: no retry, the spec is kept."""
    shell = booted(A)
    shell.will("a", IGNORE)
    assert shell.exit("a1") == ["ignore a"]
    assert shell.states == {"a": "stopped"}
    assert not shell.retries


# ------------------------------------------------------------------------------------ strategies

T = spec("t", restart="temporary")


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
    strategy: Any, dies: str, expected: list[str]
) -> None:
    """S24, S25, S26: stop in reverse order, start in order; places in the list stay."""
    shell = booted(A, B, C, D, strategy=strategy)
    assert shell.exit(f"{dies}1") == expected
    assert list(shell.states) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_temporary_siblings_of_a_group_restart_are_stopped_and_gone(strategy: Any) -> None:
    """S25, S26: ``temporary_bystander``."""
    shell = booted(A, T, C, strategy=strategy)
    assert shell.exit("a1") == ["stop c1", "stop t1", "start a2", "start c2"]
    assert shell.states == {"a": "a2", "c": "c2"}


def test_a_temporary_childs_own_end_restarts_nobody() -> None:
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
    strategy: Any, expected: list[str]
) -> None:
    """S25, S26: one_for_one leaves them down."""
    shell = booted(A, spec("b", restart="transient"), C, D, strategy=strategy)
    shell.run(shell.children.terminate_child("a"))
    shell.exit("b1", NORMAL)
    assert shell.exit("c1") == expected


def test_a_member_down_behind_the_dead_one_comes_back_with_the_rest() -> None:
    """S26."""
    shell = booted(A, B, C, strategy="rest_for_one")
    shell.run(shell.children.terminate_child("c"))
    assert shell.exit("b1") == ["start b2", "start c2"]


def test_ignore_in_a_group_restart_leaves_that_child_down_and_goes_on() -> None:
    """S25."""
    shell = booted(A, B, C, strategy="one_for_all")
    shell.will("b", IGNORE)
    assert shell.exit("a1") == ["stop c1", "stop b1", "start a2", "ignore b", "start c2"]
    assert shell.states == {"a": "a2", "b": "stopped", "c": "c2"}
    assert not shell.retries


def test_the_rest_is_who_stands_behind_in_the_list_not_who_started_later() -> None:
    """S26: a child restarted by hand keeps its place."""
    shell = booted(A, B, C, strategy="rest_for_one")
    shell.run(shell.children.terminate_child("a"))
    shell.run(shell.children.restart_child("a"))
    assert shell.exit("b1") == ["stop c1", "start b2", "start c2"]
    assert shell.states["a"] == "a2"


def test_a_failing_one_for_all_is_retried_from_the_first_child() -> None:
    """S27: what the failed attempt started runs until the next try begins."""
    shell = booted(A, B, C, strategy="one_for_all")
    shell.will("b", BROKEN)
    assert shell.exit("c1") == ["stop b1", "stop a1", "start a2", "fail b"]
    assert shell.states == {"a": "a2", "b": "restarting", "c": "stopped"}
    assert shell.retry() == ["stop a2", "start a3", "start b2", "start c2"]


def test_a_failing_rest_for_one_is_retried_from_the_failed_child() -> None:
    """S27: the children before it in the rest keep running."""
    shell = booted(A, B, C, D, strategy="rest_for_one")
    shell.will("c", BROKEN)
    assert shell.exit("b1") == ["stop d1", "stop c1", "start b2", "fail c"]
    assert shell.states == {"a": "a1", "b": "b2", "c": "restarting", "d": "stopped"}
    assert shell.retry() == ["start c2", "start d2"]
    assert shell.states == {"a": "a1", "b": "b2", "c": "c2", "d": "d2"}


def test_a_child_restarted_by_hand_in_a_looping_group_is_stopped_by_the_next_try() -> None:
    """S21: requests are served between two tries."""
    shell = booted(A, B, C, strategy="rest_for_one")
    shell.will("b", BROKEN)
    shell.exit("b1")
    assert shell.run(shell.children.restart_child("c")) == ["start c2"]
    assert shell.retry() == ["stop c2", "start b2", "start c3"]


def test_a_retry_that_was_overtaken_does_nothing() -> None:
    """S21: another death restarted the group in the meantime."""
    shell = booted(A, B, strategy="one_for_all")
    shell.will("b", BROKEN)
    shell.exit("b1")
    assert shell.exit("a2") == ["start a3", "start b2"]
    counted = shell.children.restarts
    assert shell.retry() == []
    assert shell.children.restarts == counted


def test_two_failures_of_one_child_leave_one_retry_that_counts() -> None:
    """S21: the older one has been overtaken by the newer one."""
    shell = booted(A, B, strategy="one_for_all")
    shell.will("b", BROKEN, BROKEN)
    shell.exit("b1")
    assert shell.exit("a2") == ["start a3", "fail b"]
    assert len(shell.retries) == 2
    assert shell.retry() == []
    assert shell.retry() == ["stop a3", "start a4", "start b2"]


# ------------------------------------------------------------- deaths while others are at work


def test_a_death_during_a_group_stop_is_not_asked_for_again() -> None:
    """S33: a child that dies while its sibling is being stopped is reported, and comes back."""
    children = booted(A, B, C, strategy="one_for_all").children
    assert children.exited("a1", CRASH, 0.0)[-1] == Stop(C, "c1")
    assert children.exited("b1", CRASH, 0.0) == ()
    assert children.stopped(SHUTDOWN) == (
        Report("shutdown_error", "b", "b1", CRASH),
        Start(A, again=True),
    )
    assert children.started("a2", 0.0) == (Start(B, again=True),)


def test_a_death_during_a_group_start_is_decided_afterwards() -> None:
    """S14: it is a restart of its own."""
    children = booted(A, B, strategy="one_for_all").children
    assert children.exited("b1", CRASH, 0.0)[-1] == Stop(A, "a1")
    assert children.stopped(SHUTDOWN) == (Start(A, again=True),)
    assert children.started("a2", 0.0) == (Start(B, again=True),)
    assert children.exited("a2", BROKEN, 0.0) == ()
    assert children.started("b2", 0.0) == (
        Report("child_terminated", "a", "a2", BROKEN),
        Stop(B, "b2"),
    )
    assert children.restart_count == 2


def test_deaths_that_waited_are_decided_one_after_the_other() -> None:
    """S24: none is lost."""
    children = booted(A, B, C).children
    children.exited("a1", CRASH, 0.0)
    assert children.exited("c1", CRASH, 0.0) == ()
    assert children.exited("b1", CRASH, 0.0) == ()
    assert children.started("a2", 0.0)[-1] == Start(C, again=True)
    assert children.started("c2", 0.0)[-1] == Start(B, again=True)
    assert children.started("b2", 0.0) == ()


def test_a_death_that_waited_is_decided_after_a_failed_restart_too() -> None:
    """S21."""
    children = booted(A, B).children
    children.exited("a1", CRASH, 0.0)
    children.exited("b1", CRASH, 0.0)
    failure, retry, death, start = children.failed(BROKEN)
    assert failure == Report("start_error", "a", None, BROKEN)
    assert isinstance(retry, Retry)
    assert death == Report("child_terminated", "b", "b1", CRASH)
    assert start == Start(B, again=True)


def test_the_exit_of_a_child_that_is_being_stopped_answers_the_stop() -> None:
    """S30: a shell may hear of it either way."""
    children = booted(A, B).children
    assert children.stop_all() == (Stop(B, "b1"),)
    assert children.exited("b1", SHUTDOWN, 0.0) == (Stop(A, "a1"),)
    assert children.exited("a1", CRASH, 0.0) == (Report("shutdown_error", "a", "a1", CRASH),)
    assert not children.busy


# -------------------------------------------------------------------------------------- stopping


def test_stopping_goes_through_the_list_in_reverse_one_at_a_time() -> None:
    """S30."""
    shell = booted(A, B, T, C)
    shell.run(shell.children.terminate_child("b"))
    assert shell.run(shell.children.stop_all()) == ["stop c1", "stop t1", "stop a1"]
    assert shell.children.counts().active == 0
    assert shell.exit("a1") == []


def test_stopping_interrupts_what_is_under_way() -> None:
    """S35: the `Stop` in progress is asked for again, the restart is not made."""
    children = booted(A, B, C, strategy="one_for_all").children
    assert children.exited("c1", CRASH, 0.0)[-1] == Stop(B, "b1")
    assert children.stop_all() == (Stop(B, "b1"),)
    assert children.stopped(SHUTDOWN) == (Stop(A, "a1"),)
    assert children.stopped(SHUTDOWN) == ()


def test_a_pending_retry_does_not_outlive_the_supervisor() -> None:
    """S39."""
    shell = booted(A, B)
    shell.will("a", BROKEN)
    shell.exit("a1")
    assert shell.run(shell.children.stop_all()) == ["stop b1"]
    assert shell.retry() == []


def test_a_death_after_the_end_restarts_nothing_and_is_reported_by_the_stop() -> None:
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
    options: dict[str, Any], reason: Exit, reported: bool
) -> None:
    """S31, S33."""
    shell = booted(A, spec("b", **options), C)
    shell.next_stops["b1"] = reason
    assert shell.run(shell.children.stop_all()) == ["stop c1", "stop b1", "stop a1"]
    assert shell.reports == ([("shutdown_error", "b", "b1", reason)] if reported else [])


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
    restart: Any, reason: Exit, ends: bool
) -> None:
    """S36, S37."""
    shell = booted(A, significant("b", restart), significant("c"), auto_shutdown="any_significant")
    shell.exit("b1", reason)
    expected = ShutdownSelf("auto_shutdown", "b", SHUTDOWN, reason) if ends else None
    assert shell.ended == expected


def test_an_insignificant_child_ends_nothing() -> None:
    """S36."""
    shell = booted(
        spec("a", restart="transient"), significant("b"), auto_shutdown="any_significant"
    )
    shell.exit("a1", NORMAL)
    assert shell.ended is None


def test_all_significant_waits_for_the_last_one() -> None:
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


def test_significant_children_that_never_ran_or_were_terminated_are_not_waited_for() -> None:
    """S36: the last one is the last that runs."""
    shell = Shell(
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
    auto_shutdown: Any,
) -> None:
    """S34, S36, S37."""
    shell = booted(significant("a"), B, auto_shutdown=auto_shutdown)
    shell.run(shell.children.terminate_child("a"))
    assert shell.ended is None
    shell.run(shell.children.add_child(significant("n", "temporary")))
    shell.exit("n1", NORMAL)
    assert shell.ended is not None


@pytest.mark.parametrize("restart", ["transient", "temporary"])
def test_a_significant_bystander_of_a_group_restart_ends_nothing(restart: Any) -> None:
    """S37: ``significant_bystander``."""
    shell = booted(
        A, significant("b", restart), strategy="one_for_all", auto_shutdown="any_significant"
    )
    shell.exit("a1")
    assert shell.ended is None


def test_a_significant_childs_ignored_restart_ends_nothing() -> None:
    """S36."""
    shell = booted(significant("a"), auto_shutdown="any_significant")
    shell.will("a", IGNORE)
    shell.exit("a1")
    assert (shell.ended, shell.states) == (None, {"a": "stopped"})


# -------------------------------------------------------------------------------- classification


def classify(reason: Exit) -> Any:
    return {"crash": "restart", "killed": "stop", "broken": "escalate"}[reason.kind]


def test_a_classifier_can_leave_a_child_down() -> None:
    """Classification: ``stop`` keeps the spec, and the crash is still reported."""
    shell = booted(A, B, strategy="one_for_all", classify=classify)
    assert shell.exit("a1", KILLED) == []
    assert shell.states == {"a": "stopped", "b": "b1"}
    assert shell.reports == [("child_terminated", "a", "a1", KILLED)]
    assert shell.children.restarts == ()


def test_a_classifier_can_end_the_supervisor_with_the_childs_reason() -> None:
    """Classification: the parent sees what happened, not ``shutdown``."""
    shell = booted(A, B, classify=classify)
    assert shell.exit("a1", BROKEN) == []
    assert shell.ended == ShutdownSelf("escalated", "a", BROKEN, BROKEN)
    assert shell.run(shell.children.stop_all()) == ["stop b1"]


def test_a_significant_child_left_down_by_a_classifier_has_ended() -> None:
    """Classification, S36."""
    shell = booted(significant("a"), auto_shutdown="any_significant", classify=classify)
    shell.exit("a1", KILLED)
    assert shell.ended == ShutdownSelf("auto_shutdown", "a", SHUTDOWN, KILLED)


# -------------------------------------------------------------------------------------- back-off

SLOW = spec("a", backoff=Backoff(min=1.0, max=4.0, jitter=0.5, reset_after=10.0))


def test_backoff_delays_a_restart_and_counts_it_when_it_is_made() -> None:
    """Back-off: requests are served meanwhile."""
    shell = booted(SLOW, B, intensity=5)
    assert shell.exit("a1") == []
    assert shell.states == {"a": "restarting", "b": "b1"}
    assert shell.children.restarts == ()
    assert (shell.retries[0].delay(0.0), shell.retries[0].delay(1.0)) == (1.0, 0.5)
    shell.now = 1.0
    assert shell.retry() == ["start a2"]
    assert shell.children.restarts == (1.0,)


def test_backoff_grows_with_each_try_and_starts_over_after_a_long_life() -> None:
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


def test_backoff_delays_the_whole_group_restart() -> None:
    """Back-off: the siblings are stopped when the attempt is made."""
    shell = booted(SLOW, B, strategy="one_for_all")
    assert shell.exit("a1") == []
    assert shell.states["b"] == "b1"
    assert shell.retry() == ["stop b1", "start a2", "start b2"]


def test_a_child_that_waits_is_terminated_or_restarted_with_its_group() -> None:
    """Back-off, S39: the retry finds nothing to do."""
    shell = booted(SLOW, B, strategy="one_for_all")
    shell.exit("a1")
    assert shell.exit("b1") == ["start a2", "start b2"]
    assert shell.retry() == []
    shell.exit("a2")
    assert shell.run(shell.children.terminate_child("a")) == []
    assert shell.retry() == []
    assert shell.states == {"a": "stopped", "b": "b2"}


def test_backoff_does_not_protect_from_burn_out() -> None:
    """Back-off: each attempt counts."""
    shell = booted(SLOW, intensity=1, period=60.0)
    shell.exit("a1")
    shell.retry()
    shell.exit("a2")
    assert shell.retry() == []
    assert shell.ended == ShutdownSelf("restart_intensity", "a", SHUTDOWN, CRASH)


# ---------------------------------------------------------------------------------------- admin


def test_an_added_child_starts_behind_the_others() -> None:
    """start_child; it takes part in everything from then on."""
    shell = booted(A, B, strategy="rest_for_one")
    assert shell.run(shell.children.add_child(C)) == ["start c1"]
    assert shell.exit("b1") == ["stop c1", "start b2", "start c2"]


@pytest.mark.parametrize(("outcome", "kept"), [(BROKEN, False), (IGNORE, True)])
def test_an_added_child_that_fails_is_dropped_and_an_ignored_one_is_kept(
    outcome: Any, kept: bool
) -> None:
    """start_child: a failure is the caller's to hear; there is no report and no retry."""
    shell = booted(A)
    shell.will("b", outcome)
    shell.run(shell.children.add_child(B))
    assert ("b" in shell.states) is kept
    assert (shell.reports, len(shell.retries), shell.ended) == ([], 0, None)


def looping() -> Shell:
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
    call: str, argument: Any, error: type[Exception]
) -> None:
    """S39 and the table of return shapes."""
    shell = looping()
    before = shell.states
    with pytest.raises(error):
        getattr(shell.children, call)(argument)
    assert shell.states == before == {"a": "a1", "b": "stopped", "c": "restarting"}
    assert not shell.children.busy
    assert shell.retry() == ["start c2"]


def test_a_running_childs_actor_is_named_in_the_refusal() -> None:
    """``{error,{already_started,Pid}}``."""
    with pytest.raises(ChildRunning) as caught:
        booted(A).children.add_child(A)
    assert caught.value.ref == "a1"


def test_terminating_a_child_keeps_its_spec_and_restarts_nothing() -> None:
    """S34: done twice it is done."""
    shell = booted(A, B, strategy="one_for_all")
    assert shell.run(shell.children.terminate_child("a")) == ["stop a1"]
    assert shell.run(shell.children.terminate_child("a")) == []
    assert shell.states == {"a": "stopped", "b": "b1"}
    assert shell.children.restarts == ()


def test_terminating_a_temporary_child_deletes_its_spec() -> None:
    """S34: the second call finds nothing."""
    shell = booted(A, T)
    assert shell.run(shell.children.terminate_child("t")) == ["stop t1"]
    with pytest.raises(ChildNotFound):
        shell.children.terminate_child("t")


def test_terminating_a_restarting_child_ends_the_loop() -> None:
    """S39: ``hanging_restart_loop``."""
    shell = looping()
    assert shell.run(shell.children.terminate_child("c")) == []
    assert shell.retry() == []
    assert shell.states["c"] == "stopped"


def test_a_stopped_child_is_restarted_by_hand_without_being_counted() -> None:
    """restart_child; a failure leaves it as it was."""
    shell = looping()
    shell.will("b", BROKEN)
    counted = shell.children.restarts
    assert shell.run(shell.children.restart_child("b")) == ["fail b"]
    assert shell.states["b"] == "stopped"
    assert shell.run(shell.children.restart_child("b")) == ["start b2"]
    assert shell.children.restarts == counted
    assert shell.children.row("b").restarts == 0


def test_a_deleted_child_is_gone_and_may_come_back_as_a_new_one() -> None:
    """delete_child."""
    shell = looping()
    shell.children.delete_child("b")
    assert list(shell.states) == ["a", "c"]
    shell.run(shell.children.add_child(B))
    assert list(shell.states) == ["a", "c", "b"]


def test_children_are_counted_dead_or_alive_and_active_ones_apart() -> None:
    """count_children."""
    shell = looping()
    shell.run(shell.children.add_child(spec("s", type="supervisor")))
    counts = shell.children.counts()
    assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (4, 2, 1, 3)


def test_a_row_tells_where_a_child_stands() -> None:
    """which_child."""
    shell = booted(A)
    shell.now = 2.0
    shell.exit("a1")
    row = shell.children.row("a")
    assert (row.spec, row.ref, row.state) == (A, "a2", "running")
    assert (row.restarts, row.started_at) == (1, 2.0)


# ------------------------------------------------------------------------------ bugs of a shell


def test_a_wrong_answer_or_a_request_out_of_turn_is_an_error() -> None:
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


def test_a_restart_touches_only_the_child_it_is_about() -> None:
    """W7: rows of the other children are what they were."""
    shell = booted(*(spec(f"{number}-") for number in range(50)))
    before = shell.children.rows()
    shell.exit("7-1")
    after = shell.children.rows()
    assert [number for number in range(50) if before[number] != after[number]] == [7]
