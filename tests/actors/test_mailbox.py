"""Bounds, and what becomes of messages nobody handles."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import pytest

from puckstream.actors._pykka import Stop
from puckstream.actors.mailbox import Bound, DeadLetters, Request, oldest_to_drop
from puckstream.actors.reply import Reply
from puckstream.actors.signals import NORMAL, Down, Exit, ParentExit, TaskDone, TaskFailed
from puckstream.errors import InvalidOption

REF: Any = "an actor"


@pytest.mark.parametrize("capacity", [0, -1, 1.5, True, None, "10"])
def test_an_impossible_capacity_is_refused(capacity: Any) -> None:
    with pytest.raises(InvalidOption, match="capacity"):
        Bound(capacity)


@pytest.mark.parametrize("policy", ["drop", "", None])
def test_an_unknown_policy_is_refused_with_those_there_are(policy: Any) -> None:
    with pytest.raises(InvalidOption, match="refuse, drop_new, drop_old"):
        Bound(1, policy)


def test_a_bound_refuses_unless_told_otherwise() -> None:
    assert Bound(10).policy == "refuse"


def test_dead_letters_are_all_counted_and_the_last_are_kept() -> None:
    letters = DeadLetters(keep=2)
    for message in "abc":
        letters.add(REF, message, "why")
    assert letters.count == 3
    assert [(letter.ref, letter.message, letter.why) for letter in letters.recent] == [
        (REF, "b", "why"),
        (REF, "c", "why"),
    ]


def test_dead_letters_from_many_threads_are_all_counted() -> None:
    letters = DeadLetters()

    def add() -> None:
        for message in range(5000):
            letters.add(REF, message, "why")

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert letters.count == 20_000


def test_the_oldest_that_may_be_dropped_is_found_among_those_that_may_not() -> None:
    never: list[Any] = [
        Stop(),
        Request(Stop(), Reply()),
        Exit(None, NORMAL),
        Down(1, REF, NORMAL),
        ParentExit(NORMAL),
        TaskDone("task", None),
        TaskFailed("task", ValueError()),
    ]
    request = Request("ask", Reply())
    assert oldest_to_drop(deque(never)) is None
    assert oldest_to_drop(deque([*never, request, "told"])) == len(never)
    assert oldest_to_drop(deque([*never, None])) == len(never)
    assert oldest_to_drop(deque()) is None
