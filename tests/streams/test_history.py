"""The turns of a conversation and what is told of them, without a node."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

import puckstream as puck
from puckstream.streams.history import History
from puckstream.streams.turns import ClosedEvent


def turn(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


def kinds(history: History) -> list[str]:
    return [event.kind for event in history.read(0)]


def test_turns_are_numbered_from_where_the_context_ends() -> None:
    history = History("x", puck.Context().user("a").assistant("b"))
    history.put(2, [turn("user", "c"), turn("assistant", "d")])
    assert [tuple(event) for event in history.read(0)] == [
        ("turn", 2, "user", "c"),
        ("turn", 3, "assistant", "d"),
    ]


def test_what_stays_the_same_is_not_told_again_but_the_last_is() -> None:
    history = History("x", puck.Context().user("a").assistant("b"))
    history.put(0, [turn("user", "a"), turn("assistant", "b")])
    assert [tuple(event) for event in history.read(0)] == [
        ("cut", 1),
        ("turn", 1, "assistant", "b"),
    ]
    assert history.context == puck.Context().user("a").assistant("b")


def test_the_messages_of_a_feed_are_those_of_subscribers() -> None:
    history = History("x", puck.Context())
    history.put(0, [turn("user", "a"), turn("assistant", "b")])
    first, second = history.read(0)
    assert history.after(0) == [
        ("puck_conversation", "x", first),
        ("puck_conversation", "x", second),
    ]
    assert history.next(0, 1, join=True) == ([("puck_conversation", "x", first)], 1)
    assert history.next(0, 5, join=False)[1] == 2
    assert (history.last, history.ended) == (2, False)


def test_closed_is_the_end_until_it_is_opened_again() -> None:
    history = History("x", puck.Context())
    history.append(lambda seq: ClosedEvent(seq=seq))
    assert [event.terminal for event in history.read(0)] == [True]
    history.reopen()
    assert (history.ended, history.last) == (False, 1)


def test_a_listener_that_raises_disturbs_nobody(caplog: Any) -> None:
    history = History("x", puck.Context())
    heard: list[Any] = []

    def broken(_event: Any) -> None:
        raise ValueError

    history.on_append(broken)
    forget = history.on_append(heard.append)
    history.put(0, [turn("user", "a")])
    forget()
    forget()
    history.put(1, [turn("assistant", "b")])
    assert len(heard) == 1
    assert "a listener of conversation 'x' failed" in caplog.text


contents = st.sampled_from("abc")
exchanges = st.lists(st.tuples(st.integers(0, 6), st.lists(contents, min_size=1, max_size=3)))


@given(exchanges)
def test_the_context_is_at_every_event_what_the_events_amount_to(
    puts: list[tuple[int, list[str]]],
) -> None:
    history = History("x", puck.Context())
    turns: list[Any] = []

    def follow(event: Any) -> None:
        if event.kind == "cut":
            del turns[event.n :]
        else:
            assert event.n == len(turns)
            turns.append(event.content)
        assert turns == [message["content"] for message in history.context]

    history.on_append(follow)
    for position, new in puts:
        n = min(position, len(history.context))
        history.put(n, [turn("user", content) for content in new])
        assert [message["content"] for message in history.context][n:] == new
    assert [event.seq for event in history.read(0)] == [*range(1, history.last + 1)]
