"""Who hears of what a log takes in, and of its end."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref

import pytest

from puckstream.backends.base import Chunk
from puckstream.streams.events import (
    RetryInfo,
    StreamEvent,
    chunk_event,
)
from tests.streams.logs import CONTEXT, FAILURE, running, text


def test_a_listener_hears_every_event_appended_after_it_came() -> None:
    log = running("a")
    heard: list[StreamEvent] = []
    log.on_append(heard.append)
    log.add(text("b"), 11.0)
    log.retry(RetryInfo(2, 0.0, FAILURE), 11.0)
    log.append(lambda seq: chunk_event(text("c"), seq), 11.0)
    log.finish(CONTEXT, 12.0)
    assert [event.seq for event in heard] == [3, 4, 5, 6]
    assert heard == log.read(after=2)


def test_a_removed_listener_hears_nothing_more() -> None:
    log = running()
    heard: list[StreamEvent] = []
    others: list[StreamEvent] = []
    remove = log.on_append(heard.append)
    log.on_append(others.append)
    log.add(text("a"), 11.0)
    remove()
    remove()
    log.add(text("b"), 11.0)
    assert [event.seq for event in heard] == [2]
    assert [event.seq for event in others] == [2, 3]


def test_a_listener_removed_by_another_during_an_append_is_not_called() -> None:
    log = running()
    heard: list[StreamEvent] = []
    log.on_append(lambda _event: remove())
    remove = log.on_append(heard.append)
    log.add(text("a"), 11.0)
    assert heard == []


def test_the_same_function_may_listen_twice_and_leave_once() -> None:
    log = running()
    heard: list[StreamEvent] = []
    remove = log.on_append(heard.append)
    log.on_append(heard.append)
    log.add(text("a"), 11.0)
    remove()
    log.add(text("b"), 11.0)
    assert [event.seq for event in heard] == [2, 2, 3]


@pytest.mark.parametrize(
    "error",
    [ValueError("mine"), SystemExit(3), asyncio.CancelledError(), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
def test_what_a_listener_raises_is_reported_and_disturbs_nobody(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    log = running()
    heard: list[StreamEvent] = []

    def failing(_event: object) -> None:
        raise error

    log.on_append(failing)
    log.on_append(heard.append)
    log.on_end(failing)
    with caplog.at_level(logging.ERROR, logger="puckstream.streams"):
        assert log.add(text("a"), 11.0) is not None
        assert log.finish(CONTEXT, 12.0) is not None
    assert [event.seq for event in heard] == [2, 3]
    assert len(caplog.records) == 3
    assert "a listener of stream 's' failed at event 2 (content)" in caplog.messages


def test_all_listeners_hear_in_order_when_one_of_them_appends() -> None:
    log = running()
    first: list[str] = []
    last: list[str] = []

    def cancelling(event: StreamEvent) -> None:
        first.append(event.kind)
        if event.kind == "content":
            log.add(Chunk("thinking", "hm"), 11.0)
            log.cancel("user", 11.0)

    log.on_append(cancelling)
    log.on_append(lambda event: last.append(event.kind))
    log.add(text("a"), 11.0)
    assert first == last == ["content", "thinking", "cancelled"]
    assert [event.seq for event in log.read()] == [1, 2, 3, 4]


def test_a_listener_that_comes_during_an_append_hears_only_what_follows() -> None:
    """It has read the log, so that an event it found there must not come again."""
    log = running()
    joined: list[int] = []

    def join(event: StreamEvent) -> None:
        if event.seq == 2:
            log.add(text("b"), 11.0)
            joined.extend(each.seq for each in log.read())
            log.on_append(lambda each: joined.append(each.seq))

    log.on_append(join)
    log.add(text("a"), 11.0)
    log.add(text("c"), 11.0)
    assert joined == [1, 2, 3, 4]


def test_listeners_are_let_go_after_the_end() -> None:
    class Subscriber:
        def hear(self, _event: StreamEvent) -> None:
            pass

    log = running()
    subscriber = Subscriber()
    gone = weakref.ref(subscriber)
    log.on_append(subscriber.hear)
    log.finish(CONTEXT, 12.0)
    del subscriber
    gc.collect()
    assert gone() is None


def test_the_end_is_told_once_and_before_the_listeners_hear_of_it() -> None:
    log = running()
    heard: list[str] = []
    log.on_append(lambda event: heard.append(f"listener {event.kind}"))
    log.on_end(lambda event: heard.append(f"end {event.kind}"))
    log.add(text("a"), 11.0)
    log.cancel("user", 12.0)
    log.cancel("user", 12.0)
    assert heard == ["listener content", "end cancelled", "listener cancelled"]


def test_the_end_is_told_at_once_to_whoever_comes_later() -> None:
    log = running()
    log.fail(FAILURE, 12.0)
    heard: list[StreamEvent] = []
    remove = log.on_end(heard.append)
    remove()
    assert heard == [log.terminal]


def test_whoever_stops_waiting_for_the_end_is_not_told() -> None:
    log = running()
    heard: list[StreamEvent] = []
    remove = log.on_end(heard.append)
    remove()
    log.finish(CONTEXT, 12.0)
    assert heard == []


# ----------------------------------------------------------------------------------- memory
