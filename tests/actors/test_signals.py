"""Exit reasons."""

from __future__ import annotations

from typing import Any

import pytest

from puckstream.actors.signals import (
    KILL,
    KILLED,
    NO_ACTOR,
    NORMAL,
    NOT_CONNECTED,
    SHUTDOWN,
    Crash,
    Custom,
    ExitReason,
    Shutdown,
)

ERROR = ValueError("no")


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("normal", NORMAL),
        ("shutdown", SHUTDOWN),
        ("kill", KILL),
        (ERROR, Crash(ERROR)),
        (Shutdown("for the night"), Shutdown("for the night")),
        ("anything else", Custom("anything else")),
        (None, Custom(None)),
        (["not", "hashable"], Custom(["not", "hashable"])),
    ],
)
def test_what_a_caller_writes_is_a_reason(written: Any, reason: ExitReason) -> None:
    assert ExitReason.of(written) == reason


@pytest.mark.parametrize(
    ("reason", "normal", "expected"),
    [
        (NORMAL, True, True),
        (SHUTDOWN, False, True),
        (Shutdown("why"), False, True),
        (KILL, False, False),
        (KILLED, False, False),
        (NO_ACTOR, False, False),
        (NOT_CONNECTED, False, False),
        (Crash(ERROR), False, False),
        (Custom("why"), False, False),
    ],
)
def test_normal_ends_and_shutdowns_are_expected_and_nothing_else(
    reason: ExitReason, normal: bool, expected: bool
) -> None:
    """S47."""
    assert (reason.normal, reason.expected) == (normal, expected)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (NORMAL, "normal"),
        (SHUTDOWN, "shutdown"),
        (Shutdown("for the night"), "shutdown (for the night)"),
        (KILL, "kill"),
        (KILLED, "killed"),
        (NO_ACTOR, "no such actor"),
        (NOT_CONNECTED, "no connection"),
        (Crash(ERROR), "crash: ValueError: no"),
        (Custom(7), "7"),
    ],
)
def test_a_reason_reads_as_a_person_would_say_it(reason: ExitReason, text: str) -> None:
    assert str(reason) == text


def test_reasons_are_equal_by_value() -> None:
    assert Shutdown("a") != Shutdown("b")
    assert Crash(ERROR) == Crash(ERROR)
    assert Crash(ERROR) != Crash(ValueError("no"))
    assert KILL != KILLED
