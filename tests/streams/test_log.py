from __future__ import annotations

import itertools
import json
import sys
from typing import Any

import pytest
from hypothesis import given, strategies as st

from puckstream.backends.base import Chunk, Usage
from puckstream.errors import InvalidOption, StreamError
from puckstream.streams.context import Context
from puckstream.streams.events import (
    CancelledEvent,
    DoneEvent,
    ErrorEvent,
    RetryInfo,
    StartedEvent,
    StartInfo,
    StreamEvent,
    chunk_event,
)
from puckstream.streams.log import Log, StreamRecord
from tests.streams.logs import CONTEXT, ENDS, FAILURE, end, running, text

# --------------------------------------------------------------------------------- numbering


def test_events_are_numbered_from_one_without_gaps() -> None:
    log = running("a", "b")
    log.retry(RetryInfo(2, 0.0, FAILURE), 12.0)
    log.add(text("c"), 12.0)
    log.finish(CONTEXT, 13.0)
    events = log.read()
    assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6]
    kinds = ["started", "content", "content", "retrying", "content", "done"]
    assert [event.kind for event in events] == kinds
    assert log.last_seq == 6


def test_what_is_appended_is_what_is_read() -> None:
    log = Log("s", 0.0)
    appended = [
        log.start(StartInfo("m", "p"), 0.0),
        log.add(text("a"), 0.0),
        log.add(Chunk("citation", 1, {"url": "u"}), 0.0),
        log.append(lambda seq: chunk_event(Chunk("thinking", "hm"), seq), 0.0),
        log.cancel("user", 0.0, by="ada"),
    ]
    events = log.read()
    assert events == appended
    assert [event.seq for event in events] == [event.seq for event in appended if event]
    assert [type(event) for event in events] == [type(event) for event in appended]


def test_an_event_with_another_number_is_refused() -> None:
    log = running("a")
    with pytest.raises(ValueError, match="seq is 7, the log's next is 3"):
        log.append(lambda _: StartedEvent(StartInfo(), seq=7), 11.0)
    assert log.last_seq == 2


@given(st.integers(0, 8), st.none() | st.integers(0, 8))
def test_read_gives_the_events_after_a_number_and_at_most_so_many(
    after: int, limit: int | None
) -> None:
    log = running("a", "b", "c", "d")
    expected = [seq for seq in range(1, 6) if seq > after][:limit]
    assert [event.seq for event in log.read(after, limit)] == expected


@pytest.mark.parametrize("value", [-1, 1.5, "now", None, True])
def test_read_refuses_what_is_no_position(value: Any) -> None:
    with pytest.raises(InvalidOption, match="after="):
        running("a").read(after=value)
    if value is not None:
        with pytest.raises(InvalidOption, match="limit="):
            running("a").read(limit=value)


def test_reading_hands_out_a_list_of_the_readers_own() -> None:
    log = running("a")
    log.read().clear()
    assert len(log.read()) == 2


# -------------------------------------------------------------------------- exactly one end


@ENDS
@pytest.mark.parametrize("again", ["done", "error", "cancelled"])
def test_the_first_terminal_event_is_the_only_one_and_the_last(how: str, again: str) -> None:
    log = running("a")
    terminal = end(log, how)
    assert terminal is not None
    assert end(log, again) is None
    assert log.add(text("late"), 13.0) is None
    assert log.start(StartInfo(), 13.0) is None
    assert log.retry(RetryInfo(2, 0.0, FAILURE, reset=True), 13.0) is None
    assert log.append(lambda seq: chunk_event(text("late"), seq), 13.0) is None
    assert log.terminal is terminal
    assert log.read()[-1] is terminal
    assert [event.terminal for event in log.read()] == [False, False, True]
    assert (log.status, log.content, log.ended_at) == (how, "a", 12.0)


def test_an_event_is_not_even_made_after_the_end() -> None:
    log = running()
    end(log, "done")

    def make(_seq: int) -> StartedEvent:
        pytest.fail("called after the end")

    assert log.append(make, 13.0) is None


@ENDS
def test_a_stream_may_end_before_it_starts(how: str) -> None:
    log = Log("s", 0.0)
    event = end(log, how)
    assert event is not None
    assert (event.seq, log.status) == (1, how)


def test_the_terminal_event_carries_what_had_arrived() -> None:
    done = running("Hel", "lo").finish(CONTEXT, 12.0)
    assert isinstance(done, DoneEvent)
    assert done.response.content == "Hello"
    assert done.context == CONTEXT.assistant("Hello")

    error = running("Hel").fail(FAILURE, 12.0)
    assert isinstance(error, ErrorEvent)
    assert (error.reason, error.content) == (FAILURE, "Hel")
    assert error.usage == Usage(None, 1, 0, estimated=True)

    cancelled = running("Hel").cancel("timeout_idle", 12.0, by="clock")
    assert isinstance(cancelled, CancelledEvent)
    assert (cancelled.content, cancelled.reason, cancelled.by) == ("Hel", "timeout_idle", "clock")
    assert cancelled.usage == Usage(None, 1, 0, estimated=True)


def test_a_cancelled_structured_output_carries_its_last_struct() -> None:
    log = running()
    log.add(Chunk("content", {"a": 1}), 11.0)
    log.add(Chunk("content", {"a": 1, "b": 2}), 11.0)
    cancelled = log.cancel("user", 12.0)
    assert cancelled == ("cancelled", {"a": 1, "b": 2})


def test_status_follows_the_events() -> None:
    started, unannounced = Log("s", 0.0), Log("s", 0.0)
    seen: list[str] = [started.status]
    started.start(StartInfo(), 0.0)
    unannounced.add(text("a"), 0.0)
    seen += [started.status, unannounced.status]
    assert seen == ["starting", "running", "running"]


# ----------------------------------------------------------------------------- off protocol


@pytest.mark.parametrize(
    "chunk", [Chunk("content", {"a": 1}), Chunk("done", "", {"model": "x"}), Chunk("thinking", 5)]
)
def test_a_chunk_off_protocol_leaves_the_log_unchanged_and_can_end_it(chunk: Chunk) -> None:
    log = running("a")
    heard: list[StreamEvent] = []
    log.on_append(heard.append)
    before = log.size
    with pytest.raises(StreamError) as broken:
        log.add(chunk, 11.0)
    if chunk.type != "done":
        with pytest.raises(StreamError):
            log.append(lambda seq: chunk_event(chunk, seq), 11.0)
    assert (log.last_seq, log.content, log.size, heard) == (2, "a", before, [])
    assert log.snapshot(11.0).model == "m"
    failed = log.fail(broken.value, 12.0)
    assert failed is not None
    assert (failed.reason.kind, failed.content, failed.seq) == ("protocol", "a", 3)


def test_a_failing_event_maker_leaves_the_log_unchanged() -> None:
    log = running("a")

    def make(_seq: int) -> StartedEvent:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        log.append(make, 11.0)
    assert (log.last_seq, log.status) == (2, "running")


def test_content_that_cannot_be_written_or_weighed_still_gets_a_terminal_event() -> None:
    class Hostile:
        def __sizeof__(self) -> int:
            raise ZeroDivisionError

        def __str__(self) -> str:
            raise ZeroDivisionError

    for content in (Hostile(), [Hostile()]):
        log = running()
        log.add(Chunk("content", content, {"self": Hostile()}), 11.0)
        failed = log.fail(FAILURE, 12.0)
        assert failed is not None
        assert failed.content is content


# -------------------------------------------------------------------------------------- retry


def test_a_retry_with_reset_makes_the_text_so_far_void() -> None:
    log = running("wrong")
    log.retry(RetryInfo(2, 0.0, FAILURE, reset=True), 11.0)
    log.add(text("right"), 11.0)
    done = log.finish(CONTEXT, 12.0)
    assert done is not None
    assert done.response.content == "right"
    assert [event.kind for event in log.read()].count("content") == 2


def test_a_retry_without_reset_keeps_the_text() -> None:
    log = running("a")
    log.retry(RetryInfo(2, 0.0, FAILURE), 11.0)
    log.add(text("b"), 11.0)
    assert log.content == "ab"


# ----------------------------------------------------------------------------------- snapshot


def test_a_snapshot_tells_the_stream_at_one_moment() -> None:
    log = running("Hel")
    log.generation = 4
    log.add(Chunk("thinking", "hm"), 11.0)
    log.add(Chunk("tool_use", "{}", {"index": 0, "id": "c", "name": "f"}), 11.0)
    shot = log.snapshot(13.5)
    log.add(text("lo"), 14.0)
    assert (shot.id, shot.generation, shot.status, shot.seq) == ("s", 4, "running", 4)
    assert (shot.content, shot.text, shot.thinking) == ("Hel", "Hel", "hm")
    assert [call.name for call in shot.tool_calls] == ["f"]
    assert (shot.model, shot.age, shot.ended, shot.reason) == ("m", 3.5, None, None)
    assert shot.usage.estimated
    assert [event.kind for event in log.read(after=shot.seq)] == ["content"]


def test_the_model_that_answers_replaces_the_model_asked_for() -> None:
    log = running()
    assert log.snapshot(11.0).model == "m"
    log.add(Chunk("finish", "", {"model": "m-2024-08"}), 11.0)
    assert log.snapshot(11.0).model == "m-2024-08"


@ENDS
def test_a_snapshot_after_the_end_tells_why_and_how_long_ago(how: str) -> None:
    log = running("a")
    end(log, how)
    shot = log.snapshot(20.0)
    assert (shot.status, shot.seq, shot.age, shot.ended) == (how, 3, 10.0, 8.0)
    assert shot.reason == {"done": None, "error": FAILURE, "cancelled": "user"}[how]


@ENDS
def test_a_snapshot_is_json(how: str) -> None:
    log = running()
    log.add(Chunk("content", {"a": (1,)}), 11.0)
    end(log, how)
    shown = json.loads(json.dumps(log.snapshot(20.0).to_dict()))
    assert shown["text"] == '{"a": [1]}'
    assert shown["content"] == {"a": [1]}
    assert shown["status"] == how
    if how == "error":
        assert shown["reason"]["kind"] == "server"
        assert shown["reason"]["status"] == 500


def test_times_are_those_passed_in() -> None:
    log = Log("s", 1.0)
    assert (log.created_at, log.first_chunk_at, log.last_at, log.ended_at) == (1.0, None, 1.0, None)
    log.start(StartInfo(), 2.0)
    assert (log.first_chunk_at, log.last_at) == (None, 2.0)
    log.add(text("a"), 3.0)
    log.add(text("b"), 4.0)
    assert (log.first_chunk_at, log.last_at, log.ended_at) == (3.0, 4.0, None)
    log.finish(CONTEXT, 5.0)
    assert (log.first_chunk_at, log.last_at, log.ended_at) == (3.0, 5.0, 5.0)


def test_usage_is_estimated_from_the_request_where_its_size_is_known() -> None:
    log = Log("s", 0.0, input_chars=10)
    log.add(text("12345"), 0.0)
    assert log.usage == Usage(3, 2, 0, estimated=True)


# ---------------------------------------------------------------------------------- listeners


def test_the_size_grows_with_what_the_log_holds() -> None:
    log = Log("s", 0.0)
    sizes = [log.size]
    for chunk in (
        text("a"),
        text("a" * 1000),
        Chunk("finish", "", {"logprobs": [{"token": "a" * 500, "top": ["b" * 500]}]}),
    ):
        log.add(chunk, 0.0)
        sizes.append(log.size)
    grown = [after - before for before, after in itertools.pairwise(sizes)]
    assert grown[0] >= sys.getsizeof("a")
    assert grown[1] >= 1000
    assert grown[2] >= 1000
    log.finish(Context().user("p" * 5000), 0.0)
    assert log.size - sizes[-1] >= 6000


def test_structured_content_is_weighed_with_its_parts_even_in_a_circle() -> None:
    log = Log("s", 0.0)
    cycle: dict[str, Any] = {"text": "x" * 3000}
    cycle["self"] = cycle
    log.add(Chunk("content", cycle), 0.0)
    assert 3000 <= log.size < 6000


def test_a_logged_chunk_is_kept_as_it_is_and_not_as_an_event() -> None:
    chunk = text("a")
    log = Log("s", 0.0)
    log.add(chunk, 0.0)
    log.append(lambda seq: chunk_event(chunk, seq), 0.0)
    assert all(entry is chunk for _, entry in log._entries.read(0))


# ----------------------------------------------------------------------------------- record


def test_a_record_reads_its_times_and_its_run_from_the_log() -> None:
    log = Log("s", 3.0)
    log.generation = 2
    record = StreamRecord(log, owner="actor", starter="viewer")
    assert (record.id, record.generation, record.created_at) == ("s", 2, 3.0)
    assert record.ended_at is None
    log.cancel("user", 9.0)
    assert record.ended_at == 9.0


def test_repr_shows_no_text() -> None:
    assert repr(running("secret")) == "<Log of 's': running, 2 events>"
