"""A log within its bytes: what is joined, what is skipped, and what is always kept."""

from __future__ import annotations

import json
import pickle
from typing import Any

from puckstream.backends.base import Chunk
from puckstream.errors import StreamError
from puckstream.streams.context import Context
from puckstream.streams.events import RetryInfo, SkippedEvent, StartInfo, StreamEvent
from puckstream.streams.log import Log


def log_of(*contents: Any, max_bytes: float = float("inf")) -> Log:
    log = Log("s", 0.0, max_bytes=max_bytes)
    log.start(StartInfo("m", "p"), 0.0)
    for content in contents:
        log.add(content if isinstance(content, Chunk) else Chunk("content", content), 1.0)
    return log


def spans(events: list[StreamEvent]) -> list[tuple[int, int]]:
    return [(event.first_seq, event.seq) for event in events]


def joined_text(events: list[StreamEvent]) -> str:
    return "".join(event.chunk.content for event in events if event.kind == "content")  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------- joined


def test_adjacent_deltas_are_joined_and_numbered_from_the_first_to_the_last() -> None:
    log = log_of("a", "b", Chunk("thinking", "x"), Chunk("thinking", "y"), "c")
    log.finish(Context().user("p"), 2.0)
    events = log.joined(0)
    kinds = ["started", "content", "thinking", "content", "done"]
    assert [event.kind for event in events] == kinds
    assert spans(events) == [(1, 1), (2, 3), (4, 5), (6, 6), (7, 7)]
    assert events[1].chunk.content == "ab"  # type: ignore[union-attr]
    assert events[-1] is log.terminal


def test_joining_begins_where_the_reader_stands() -> None:
    log = log_of("a", "b", "c")
    assert spans(log.joined(2)) == [(3, 4)]
    assert joined_text(log.joined(2)) == "bc"
    assert log.joined(4) == []
    assert spans(log.joined(0, 1)) == [(1, 1)]


def test_a_joined_event_says_in_json_what_it_stands_for_and_can_be_pickled() -> None:
    (_, event) = log_of("a", "b").joined(0)
    fields = event.to_dict("s")
    assert json.loads(json.dumps(fields)) == {
        "stream": "s",
        "seq": 3,
        "first_seq": 2,
        "type": "content",
        "content": "ab",
    }
    copy = pickle.loads(pickle.dumps(event))
    assert (copy, copy.seq, copy.first_seq) == (event, 3, 2)
    assert "first_seq" not in log_of("a").read()[1].to_dict("s")


# ------------------------------------------------------------------------------------ bounded


def test_text_is_replayed_delta_by_delta_though_the_log_is_packed() -> None:
    words = [f"word {number} " for number in range(5000)]
    log = log_of(*words, max_bytes=400_000)
    assert log.size <= 400_000
    events = log.read(1)
    assert spans(events) == [(seq, seq) for seq in range(2, 5002)]
    assert [event.chunk.content for event in events] == words  # type: ignore[union-attr]
    assert joined_text(log.joined(100)) == "".join(words[99:])


def test_what_is_too_much_even_so_is_skipped_and_said_to_be() -> None:
    partials = [{"step": number, "x": "x" * 50} for number in range(1000)]
    log = log_of(*partials, max_bytes=50_000)
    assert log.size <= 50_000
    for events in (log.read(3), log.joined(3)):
        (event,) = events
        assert isinstance(event, SkippedEvent)
        assert (event.first_seq, event.seq, event.terminal) == (4, 1001, False)
        assert event.response.content == partials[-1]
    assert log.content == partials[-1]
    fields = json.loads(json.dumps(event.to_dict("s")))
    assert (fields["type"], fields["first_seq"], fields["content"]) == ("skipped", 4, partials[-1])
    copy = pickle.loads(pickle.dumps(event))
    assert (copy, copy.first_seq, copy.seq) == (event, 4, 1001)


def test_the_terminal_event_is_never_skipped() -> None:
    log = log_of(*({"x": "y" * 500, "n": n} for n in range(500)), max_bytes=10_000)
    end = log.fail(StreamError("server", "broken"), 2.0)
    for events in (log.read(0), log.joined(0), log.joined(0, 2), log.read(0, 2)):
        assert [event.kind for event in events] == ["skipped", "error"]
        assert events[-1] is end
        assert spans(events) == [(1, 501), (502, 502)]
    assert log.read(0, 1) == log.joined(0, 1) == events[:1]
    assert log.read(501) == [end]


def test_a_skipped_event_matches_as_the_tuple_it_is() -> None:
    log = log_of(*("x" * 900 for _ in range(100)), max_bytes=5000)
    match log.read(0):
        case [("skipped", response)]:
            assert response.text == "x" * 90_000
        case other:
            raise AssertionError(other)


def test_a_chunk_cannot_claim_that_events_were_skipped() -> None:
    log = log_of()
    try:
        log.add(Chunk("skipped", "a"), 1.0)
    except StreamError as error:
        assert error.kind == "protocol"
    else:
        raise AssertionError


def test_readers_near_the_end_do_not_notice_that_the_oldest_are_dropped() -> None:
    log = Log("s", 0.0, max_bytes=20_000)
    position = 0
    seen: list[Any] = []
    for number in range(3000):
        log.add(Chunk("content", {"n": number}), 0.0)
        if number % 10 == 0:
            seen += log.read(position)
            position = log.last_seq
    assert [event.seq for event in seen] == list(range(1, 2992))
    assert {event.kind for event in seen} == {"content"}


def test_what_was_skipped_says_whether_it_made_the_text_before_void() -> None:
    log = log_of("old", max_bytes=2000)
    reason = StreamError(kind="server", message="no")
    log.retry(RetryInfo(2, 0.0, reason, reset=True), 1.0)
    for _ in range(200):
        log.add(Chunk("raw", "z" * 100), 1.0)
    log.add(Chunk("content", "new"), 1.0)
    first, after = log.read(0)[0], log.read(3)[0]
    assert isinstance(first, SkippedEvent)
    assert isinstance(after, SkippedEvent)
    assert (first.reset, after.reset) == (True, False)
    assert pickle.loads(pickle.dumps(first)).reset
    assert [log.text_length(seq) for seq in (1, log.last_seq - 1, log.last_seq)] == [0, 0, 3]
