"""The rules about one exit: restart or not, report or not, in either kind of supervisor."""

from __future__ import annotations

from typing import Any

import pytest

from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN, Custom, ExitReason, Shutdown
from puckstream.errors import InvalidSpec
from puckstream.supervision.child import child
from puckstream.supervision.strategy import (
    is_shutdown_error,
    is_worth_reporting,
    on_dynamic_exit,
    verdict_on,
)

DONE = Shutdown("done")
CRASH = Custom("crash")
EXPECTED: list[ExitReason] = [NORMAL, SHUTDOWN, DONE]
ABNORMAL: list[ExitReason] = [CRASH, KILLED]


class Worker:
    """Stands for an actor class."""


@pytest.mark.parametrize(
    ("restart", "on_expected", "on_abnormal"),
    [
        ("permanent", "restart", "restart"),
        ("transient", "stop", "restart"),
        ("temporary", "stop", "stop"),
    ],
)
def test_the_restart_type_and_the_reason_decide(
    restart: Any, on_expected: str, on_abnormal: str
) -> None:
    """S14: permanent always, transient after a crash, temporary never."""
    for reason in EXPECTED:
        assert verdict_on(restart, reason) == on_expected
    for reason in ABNORMAL:
        assert verdict_on(restart, reason) == on_abnormal


@pytest.mark.parametrize("answer", ["restart", "stop", "escalate"])
@pytest.mark.parametrize(
    ("restart", "reason", "asked"),
    [
        ("permanent", CRASH, True),
        ("permanent", NORMAL, True),
        ("transient", CRASH, True),
        ("transient", NORMAL, False),
        ("temporary", CRASH, False),
    ],
)
def test_a_classifier_can_refuse_a_restart_but_never_add_one(
    restart: Any, reason: ExitReason, asked: bool, answer: Any
) -> None:
    """Classification: it is asked only where S14 says restart."""
    seen: list[ExitReason] = []

    def classify(of: ExitReason) -> Any:
        seen.append(of)
        return answer

    assert verdict_on(restart, reason, classify) == (answer if asked else "stop")
    assert seen == ([reason] if asked else [])


def test_a_classifier_without_a_verdict_is_an_error() -> None:
    """Classification: None is no answer."""

    def classify(_: ExitReason) -> Any:
        return None

    with pytest.raises(InvalidSpec, match="classify=None"):
        verdict_on("permanent", CRASH, classify)


@pytest.mark.parametrize(
    ("restart", "reason", "expected"),
    [
        ("permanent", NORMAL, True),
        ("permanent", CRASH, True),
        ("transient", DONE, False),
        ("transient", CRASH, True),
        ("temporary", SHUTDOWN, False),
        ("temporary", KILLED, True),
    ],
)
def test_a_permanent_childs_end_is_always_reported_and_else_only_a_crash(
    restart: Any, reason: ExitReason, expected: bool
) -> None:
    """S16."""
    assert is_worth_reporting(restart, reason) is expected


@pytest.mark.parametrize(
    ("restart", "reason", "asked", "static", "dynamic"),
    [
        ("permanent", SHUTDOWN, SHUTDOWN, False, False),
        ("permanent", NORMAL, SHUTDOWN, True, True),
        ("permanent", DONE, SHUTDOWN, True, False),
        ("permanent", CRASH, SHUTDOWN, True, True),
        ("permanent", KILLED, SHUTDOWN, True, True),
        ("permanent", KILLED, KILLED, False, False),
        ("permanent", SHUTDOWN, KILLED, True, False),
        ("transient", NORMAL, SHUTDOWN, False, False),
        ("transient", DONE, SHUTDOWN, False, False),
        ("transient", CRASH, SHUTDOWN, True, True),
        ("temporary", NORMAL, SHUTDOWN, False, False),
        ("temporary", KILLED, SHUTDOWN, True, True),
        ("temporary", KILLED, KILLED, False, False),
    ],
)
def test_a_child_that_ends_otherwise_than_asked_is_a_shutdown_error(
    restart: Any, reason: ExitReason, asked: ExitReason, static: bool, dynamic: bool
) -> None:
    """S33: a permanent child may only end as asked; a dynamic one's shutdown terms are fine."""
    assert is_shutdown_error(restart, reason, asked) is static
    assert is_shutdown_error(restart, reason, asked, dynamic=True) is dynamic


@pytest.mark.parametrize(
    ("restart", "reason", "expected"),
    [
        ("permanent", NORMAL, "restart"),
        ("permanent", CRASH, "restart"),
        ("transient", DONE, "remove"),
        ("transient", CRASH, "restart"),
        ("temporary", NORMAL, "remove"),
        ("temporary", CRASH, "remove"),
    ],
)
def test_a_dynamic_child_that_is_not_restarted_is_removed(
    restart: Any, reason: ExitReason, expected: str
) -> None:
    """S14, S15: no spec of it remains, not even a transient one's."""
    assert on_dynamic_exit(child(Worker, restart=restart), reason) == expected


def test_a_dynamic_supervisor_can_escalate() -> None:
    """Classification: a refused key is everybody's problem."""

    def classify(_: ExitReason) -> Any:
        return "escalate"

    assert on_dynamic_exit(child(Worker), CRASH, classify) == "escalate"
    assert on_dynamic_exit(child(Worker, restart="temporary"), CRASH, classify) == "remove"
