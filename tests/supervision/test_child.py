"""Child specs, back-off and flags: what is accepted, what is refused, what is filled in."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from functools import partial
from typing import Any

import pytest

import puckstream as puck
from puckstream.errors import InvalidSpec
from puckstream.supervision.child import (
    IGNORE,
    Backoff,
    ChildSpec,
    Flags,
    as_child_spec,
    check_child_specs,
    child,
)
from puckstream.supervision.supervisor import Supervisor


class Worker:
    """Stands for an actor class without opinions."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...


class Boss:
    child_type = "supervisor"


class Opinionated:
    restart = "transient"
    shutdown = "brutal_kill"


class Unrelated:
    """Has methods and flags that only happen to be named like options."""

    shutdown = False

    def restart(self) -> None: ...

    @property
    def child_type(self) -> str:
        return "supervisor"


class Component:
    @classmethod
    def child_spec(cls) -> ChildSpec:
        return child(cls, 1, id="component")


def start(_context: object) -> object:
    return IGNORE


def test_a_worker_is_permanent_and_gets_five_seconds() -> None:
    """S3: the defaults of a child spec."""
    spec = child(Worker, 1, size=2)
    assert spec == ChildSpec(
        id="Worker",
        start=Worker,
        args=(1,),
        kwargs={"size": 2},
        restart="permanent",
        shutdown=5.0,
        type="worker",
        significant=False,
        name=None,
        backoff=None,
    )


@pytest.mark.parametrize(
    ("start_of", "options", "expected"),
    [
        (Boss, {}, {"type": "supervisor", "shutdown": None}),
        (Worker, {"type": "supervisor"}, {"shutdown": None}),
        (Boss, {"shutdown": 3}, {"shutdown": 3}),
        (Boss, {"type": "worker"}, {"type": "worker", "shutdown": 5.0}),
        (Opinionated, {}, {"restart": "transient", "shutdown": "brutal_kill"}),
        (Opinionated, {"restart": "temporary", "shutdown": None},
         {"restart": "temporary", "shutdown": None}),
        (Unrelated, {}, {"restart": "permanent", "shutdown": 5.0, "type": "worker"}),
        (Worker, {"shutdown": 0}, {"shutdown": 0}),
    ],
)  # fmt: skip
def test_what_is_not_given_comes_from_the_class_and_else_from_the_type(
    start_of: Any, options: dict[str, Any], expected: dict[str, Any]
) -> None:
    """S3, S31: 5 seconds for a worker, no limit for a supervisor; 0 seconds are legal."""
    spec = child(start_of, **options)
    assert {name: getattr(spec, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("start_of", "expected"),
    [
        (Worker, "Worker"),
        (start, "start"),
        (partial(partial(Worker, 1), 2), "Worker"),
        (Component().child_spec, "child_spec"),
    ],
)
def test_the_id_is_the_name_of_the_class_or_function(start_of: Any, expected: str) -> None:
    """S3: an id is mandatory, so one is made."""
    assert child(start_of).id == expected


def test_a_start_function_is_told_from_a_class() -> None:
    """S9: a class is made, a function is called with the supervisor's context."""
    assert child(Worker).is_class
    assert not child(start).is_class
    assert not child(partial(Worker, 1)).is_class


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("id", ["not hashable"]),
        ("id", ("a", [])),
        ("restart", "always"),
        ("restart", ["permanent"]),
        ("shutdown", -1),
        ("shutdown", True),
        ("shutdown", math.nan),
        ("shutdown", math.inf),
        ("shutdown", "infinity"),
        ("shutdown", "5"),
        ("type", "boss"),
        ("significant", 1),
        ("significant", None),
        ("name", []),
        ("backoff", 1.0),
    ],
)
def test_a_wrong_option_is_refused_where_it_is_written(option: str, value: Any) -> None:
    """S4: the error names the option and the value."""
    with pytest.raises(InvalidSpec) as caught:
        child(Worker, **{option: value})
    assert (caught.value.option, caught.value.value) == (option, value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", [None, 1, "Worker"])
def test_a_start_that_cannot_be_called_is_refused(value: Any) -> None:
    """S4: ``invalid_mfa``."""
    with pytest.raises(InvalidSpec, match="start="):
        child(value, id="x")


def test_a_spec_made_by_hand_is_checked_too() -> None:
    """S4: ``missing_id``."""
    with pytest.raises(InvalidSpec, match="id=None"):
        ChildSpec(None, Worker)


def test_a_wrong_default_of_a_class_is_refused() -> None:
    """S4: where the value comes from makes no difference."""

    class Wrong:
        restart = "sometimes"

    with pytest.raises(InvalidSpec, match="sometimes"):
        child(Wrong)


def test_a_spec_does_not_change() -> None:
    """A spec can be shared between children and used again."""
    spec = child(Worker)
    with pytest.raises(FrozenInstanceError):
        spec.restart = "temporary"  # type: ignore[misc]
    assert hash(spec) == hash(child(Worker, [], size={}))


def test_forgotten_arguments_leave_the_rest_of_the_spec() -> None:
    """S18: what a temporary child was started with is not kept."""
    spec = child(Worker, object(), id="a", restart="temporary", key=object())
    assert spec.forget_arguments() == child(Worker, id="a", restart="temporary")


def test_children_of_one_kind_share_the_spec_that_remains() -> None:
    """S18: 100,000 temporary children need not keep 100,000 specs."""
    known = child(Worker, 1, restart="temporary").forget_arguments()
    assert known.forget_arguments() is known
    assert child(Worker, 2, restart="temporary").forget_arguments(known) is known
    other = child(Worker, 2, restart="temporary", shutdown=1.0).forget_arguments(known)
    assert other == child(Worker, restart="temporary", shutdown=1.0)
    other = child(Worker, 2, restart="temporary", start_timeout=1.0).forget_arguments(known)
    assert other == child(Worker, restart="temporary", start_timeout=1.0)


def test_a_component_offers_its_own_spec() -> None:
    """A list of children may hold specs, components, classes and functions."""
    assert as_child_spec(Component).id == "component"
    assert as_child_spec(Component).args == (1,)
    assert as_child_spec(Worker) == child(Worker)
    assert as_child_spec(start) == child(start)
    spec = child(Worker, id="mine")
    assert as_child_spec(spec) is spec


def test_what_is_no_child_is_refused() -> None:
    """S4: ``invalid_child_spec``."""

    class Liar:
        @staticmethod
        def child_spec() -> int:
            return 1

    wrong: Any
    for wrong in (Liar, 1, None):
        with pytest.raises(InvalidSpec):
            as_child_spec(wrong)


SIGNIFICANT = child(Worker, restart="transient", significant=True)
FOR_EVER = child(Worker, significant=True)


@pytest.mark.parametrize(
    ("spec", "auto_shutdown", "complaint"),
    [
        (SIGNIFICANT, "never", "auto_shutdown='never'"),
        (SIGNIFICANT, "any_significant", None),
        (SIGNIFICANT, "all_significant", None),
        (SIGNIFICANT, None, None),
        (FOR_EVER, "never", "auto_shutdown='never'"),
        (FOR_EVER, "any_significant", "permanent"),
        (FOR_EVER, "all_significant", "permanent"),
        (FOR_EVER, None, "permanent"),
    ],
)
def test_a_significant_child_needs_a_supervisor_it_can_end(
    spec: ChildSpec, auto_shutdown: Any, complaint: str | None
) -> None:
    """S4: the combination with never comes first, and needs the flag to be known."""
    if complaint is None:
        check_child_specs([spec], auto_shutdown)
    else:
        with pytest.raises(InvalidSpec, match=complaint):
            check_child_specs([spec], auto_shutdown)


def test_two_children_of_one_id_are_refused() -> None:
    """S4: ``duplicate_child_name``; equal ids are one id, whatever their type."""
    check_child_specs([child(Worker, id="a"), child(Worker, id="b")])
    with pytest.raises(InvalidSpec, match="id='a'"):
        check_child_specs([child(Worker, id="a"), child(Boss, id="a")])


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (1, "children=1"),
        (None, "children=None"),
        (child(Worker), "children=ChildSpec"),
        (["Worker"], "start='Worker'"),
        ([Worker, 7], "start=7"),
    ],
)
def test_a_list_of_something_else_is_refused(wrong: Any, complaint: str) -> None:
    """S5: ``badarg``, and S4: ``invalid_child_spec``; a supervisor's own list too."""
    for refusing in (check_child_specs, Supervisor):
        with pytest.raises(InvalidSpec, match=complaint):
            refusing(wrong)


def test_what_a_supervisor_takes_can_be_checked_without_one() -> None:
    """S5: ``check_child_specs`` starts nothing, and takes whatever stands for a spec."""
    assert puck.check_child_specs([Worker, Component, child(start)]) is None  # type: ignore[func-returns-value]
    with pytest.raises(InvalidSpec, match="id='component'"):
        puck.check_child_specs([Component, Component])
    wrong: Any = "sometimes"
    with pytest.raises(InvalidSpec, match="auto_shutdown='sometimes'"):
        puck.check_child_specs([Worker], wrong)


@pytest.mark.parametrize(("option", "value"), [("args", [1]), ("args", None), ("kwargs", [1])])
def test_arguments_that_are_none_are_refused(option: str, value: Any) -> None:
    """S4: ``invalid_mfa``."""
    wrong: Any = {option: value}
    with pytest.raises(InvalidSpec, match=f"{option}="):
        ChildSpec("a", Worker, **wrong)


def test_flags_default_to_three_restarts_in_five_seconds() -> None:
    """S1: Elixir's defaults."""
    assert Flags() == Flags("one_for_one", 3, 5.0, "never")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("strategy", "simple_one_for_one"),
        ("strategy", None),
        ("intensity", -1),
        ("intensity", 1.5),
        ("intensity", True),
        ("intensity", math.inf),
        ("intensity", math.nan),
        ("period", 0),
        ("period", 0.0),
        ("period", -1.0),
        ("period", True),
        ("period", math.inf),
        ("period", math.nan),
        ("period", None),
        pytest.param("period", 10**400, id="period-too-large-for-a-clock"),
        ("auto_shutdown", "always"),
        ("auto_shutdown", True),
    ],
)
def test_wrong_flags_are_refused(option: str, value: Any) -> None:
    """S2: there is no infinity, and no period of 0."""
    with pytest.raises(InvalidSpec) as caught:
        Flags(**{option: value})
    assert caught.value.option == option


@pytest.mark.parametrize("period", [0.001, 1, 1e300])
def test_a_period_is_any_number_of_seconds_above_zero(period: float) -> None:
    """S2: the clock is a float, so the period may be one."""
    assert Flags(intensity=0, period=period).period == period


@pytest.mark.parametrize(
    ("attempt", "random", "expected"),
    [(0, 0.0, 1.0), (1, 0.0, 2.0), (3, 0.0, 8.0), (4, 0.0, 10.0), (1, 1.0, 1.0), (1, 0.5, 1.5),
     (5000, 0.0, 10.0)],
)  # fmt: skip
def test_backoff_doubles_up_to_its_cap_less_the_jitter(
    attempt: int, random: float, expected: float
) -> None:
    """Back-off: the delay is never above ``max``."""
    assert Backoff(min=1.0, max=10.0, jitter=0.5).delay(attempt, random) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"min": 0},
        {"min": -1.0},
        {"min": math.nan},
        {"min": True},
        {"min": 2.0, "max": 1.0},
        {"max": math.inf},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"jitter": math.nan},
        {"reset_after": 0},
        {"reset_after": None},
    ],
)
def test_a_wrong_backoff_is_refused(options: dict[str, Any]) -> None:
    """Back-off: the error names the option."""
    with pytest.raises(InvalidSpec, match="backoff"):
        Backoff(**options)
