from __future__ import annotations

import copy
import json
import pickle
from types import MappingProxyType
from typing import Any

import pytest

from puckstream.backends.base import Chunk, Usage
from puckstream.errors import StreamError
from puckstream.streams.context import Context
from puckstream.streams.events import (
    CancelledEvent,
    ChunkEvent,
    ContentEvent,
    DoneEvent,
    ErrorEvent,
    Event,
    OtherChunkEvent,
    RetryInfo,
    RetryingEvent,
    StartedEvent,
    StartInfo,
    ThinkingEvent,
    ToolUseEvent,
    chunk_event,
    stream_message,
)
from puckstream.streams.response import Response

CHUNK = Chunk("content", "Hello")
FAILURE = StreamError(
    "rate_limit", "slow down", status=429, retryable=True, retry_after=1.5, provider="openai"
)
CONTEXT = Context().user("a secret prompt").assistant("Hello")
EVENTS: list[Any] = [  # of StreamEvent; Any, because they are compared with plain tuples
    StartedEvent(StartInfo("gpt-x", "openai"), seq=1),
    chunk_event(CHUNK, 2),
    chunk_event(Chunk("thinking", "hm"), 3),
    chunk_event(Chunk("tool_use", "{", {"index": 0, "id": "c", "name": "f"}), 4),
    chunk_event(Chunk("citation", "", {"url": "https://example.org"}), 5),
    RetryingEvent(RetryInfo(2, 0.5, FAILURE, reset=True), seq=6),
    DoneEvent(Response("Hello", usage=Usage(1, 2)), CONTEXT, seq=7),
    ErrorEvent(FAILURE, content="Hel", usage=Usage(1, 1, estimated=True), seq=8),
    CancelledEvent("Hel", reason="timeout_idle", by="ada", usage=Usage(1, 1), seq=9),
]


def kind_and_payload(message: Any, wanted: str) -> Any:
    """Match as the documentation tells subscribers to."""
    match message:
        case ("puck_stream", id, ("content", chunk)) if id == wanted:
            return chunk.content
        case ("puck_stream", id, ("done", response, context)) if id == wanted:
            return (response, context)
        case ("puck_stream", id, ("error", reason)) if id == wanted:
            return reason
        case ("puck_stream", id, ("cancelled", content)) if id == wanted:
            return content
        case ("puck_stream", id, ("started" | "retrying", info)) if id == wanted:
            return info
        case ("puck_stream", _, event) if event.terminal:
            return "another stream ended"
        case _:
            return None


def test_events_match_as_the_tuples_they_are() -> None:
    matched = [kind_and_payload(stream_message("1", event), "1") for event in EVENTS]
    assert matched == [
        StartInfo("gpt-x", "openai", 1),
        "Hello",
        None,
        None,
        None,
        RetryInfo(2, 0.5, FAILURE, reset=True),
        (Response("Hello", usage=Usage(1, 2)), CONTEXT),
        FAILURE,
        "Hel",
    ]


def test_the_guard_on_the_id_and_the_terminal_flag_work() -> None:
    assert kind_and_payload(stream_message("10", EVENTS[1]), "1") is None
    assert kind_and_payload(stream_message("10", EVENTS[7]), "1") == "another stream ended"


def test_an_event_is_a_real_tuple_of_kind_and_payload() -> None:
    assert all(isinstance(event, tuple) for event in EVENTS)
    assert [len(event) for event in EVENTS] == [2, 2, 2, 2, 2, 2, 3, 2, 2]
    assert EVENTS[1] == ("content", CHUNK)
    plain_tuple: Any = ("content", CHUNK)
    assert plain_tuple == EVENTS[1]
    kind, chunk = EVENTS[1]
    assert (kind, chunk) == ("content", CHUNK)
    message = stream_message("s", EVENTS[1])
    assert type(message) is tuple
    assert message == ("puck_stream", "s", ("content", CHUNK))


def test_kind_seq_and_terminal_stand_beside_the_payload() -> None:
    assert [event.kind for event in EVENTS] == [
        "started",
        "content",
        "thinking",
        "tool_use",
        "citation",
        "retrying",
        "done",
        "error",
        "cancelled",
    ]
    assert [event.kind for event in EVENTS] == [event[0] for event in EVENTS]
    assert [event.seq for event in EVENTS] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [event.terminal for event in EVENTS] == [False] * 6 + [True] * 3


def test_payloads_have_names() -> None:
    started, content, _, _, _, retrying, done, error, cancelled = EVENTS
    assert isinstance(started, StartedEvent)
    assert started.info == StartInfo("gpt-x", "openai", attempt=1)
    assert isinstance(content, ContentEvent)
    assert content.chunk is CHUNK
    assert isinstance(retrying, RetryingEvent)
    assert retrying.info.reset
    assert isinstance(done, DoneEvent)
    assert (done.response.content, done.context) == ("Hello", CONTEXT)
    assert isinstance(error, ErrorEvent)
    assert (error.reason, error.content, error.usage) == (FAILURE, "Hel", Usage(1, 1, None, True))
    assert isinstance(cancelled, CancelledEvent)
    assert (cancelled.content, cancelled.reason, cancelled.by, cancelled.usage) == (
        "Hel",
        "timeout_idle",
        "ada",
        Usage(1, 1),
    )


def test_event_classes_can_be_matched_too() -> None:
    def look(event: Any) -> Any:
        match event:
            case ContentEvent(chunk) | ThinkingEvent(chunk) | ToolUseEvent(chunk):
                return chunk.content
            case OtherChunkEvent(chunk):
                return chunk.type
            case StartedEvent(info) | RetryingEvent(info):
                return info.attempt
            case DoneEvent(response, context):
                return (response.content, len(context))
            case ErrorEvent(reason, content=content):
                return (reason.kind, content)
            case CancelledEvent(content, by=by):
                return (content, by)

    assert [look(event) for event in EVENTS] == [
        1,
        "Hello",
        "hm",
        "{",
        "citation",
        2,
        ("Hello", 2),
        ("rate_limit", "Hel"),
        ("Hel", "ada"),
    ]


@pytest.mark.parametrize("type_", [None, "", 5, ["content"]])
def test_a_chunk_without_a_type_is_unknown(type_: Any) -> None:
    chunk = Chunk(type_, "x")
    event: Any = chunk_event(chunk, 3)
    assert event == ("unknown", chunk)
    assert (event.kind, event.seq, event.terminal) == ("unknown", 3, False)


def test_any_other_type_keeps_its_own_tag_and_its_chunk_unchanged() -> None:
    metadata = {"url": "https://example.org", "usage": Usage(1, 2)}
    event = chunk_event(Chunk("citation", {"n": 1}, metadata), 1)
    assert isinstance(event, OtherChunkEvent)
    assert event.kind == "citation"
    assert event.chunk.metadata is metadata
    assert event.chunk.url == "https://example.org"


@pytest.mark.parametrize("type_", ["started", "retrying", "done", "error", "cancelled"])
def test_a_chunk_cannot_pass_for_an_event_of_the_stream_itself(type_: str) -> None:
    with pytest.raises(StreamError, match=f"cannot be of type '{type_}'") as broken:
        chunk_event(Chunk(type_, "x"), 1)
    assert broken.value.kind == "protocol"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_an_event_cannot_be_changed(event: Any) -> None:
    for name in ("seq", "terminal", "kind", "content", "reason", "anything"):
        with pytest.raises(AttributeError, match="cannot be changed"):
            setattr(event, name, None)
    with pytest.raises(AttributeError, match="cannot be changed"):
        del event.seq


def test_events_compare_as_tuples_and_seq_does_not_count() -> None:
    assert chunk_event(CHUNK, 1) == chunk_event(CHUNK, 2)
    assert chunk_event(CHUNK, 1) != chunk_event(Chunk("content", "x"), 1)
    one, other = CancelledEvent("x", seq=1), CancelledEvent("x", reason="shutdown", seq=2)
    assert one == other
    assert hash(one) == hash(("cancelled", "x")) == hash(other)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
@pytest.mark.parametrize(
    "duplicate", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy]
)
def test_events_survive_pickle_and_copy_with_their_attributes(event: Any, duplicate: Any) -> None:
    again = duplicate(event)
    assert type(again) is type(event)
    assert again.to_dict("s") == event.to_dict("s")
    assert again.seq == event.seq
    if not isinstance(event, ErrorEvent | RetryingEvent):
        assert again == event  # exceptions compare by identity


def test_a_chunk_with_read_only_metadata_survives_pickle() -> None:
    event = chunk_event(Chunk("content", "x", MappingProxyType({"a": 1})), 4)
    again = pickle.loads(pickle.dumps(event))
    assert (again, again.seq) == (event, 4)


def test_repr_is_one_short_line() -> None:
    assert repr(chunk_event(CHUNK, 2)) == "<content #2 'Hello'>"
    assert repr(chunk_event(Chunk("", None))) == "<unknown #0 None>"
    long = repr(chunk_event(Chunk("content", "x" * 10_000), 2))
    assert len(long) < 80
    assert repr(EVENTS[0]) == "<started #1 model='gpt-x', provider='openai', attempt=1>"
    assert repr(EVENTS[7]) == "<error #8 rate_limit (429) from openai: slow down after 'Hel'>"
    assert repr(EVENTS[8]) == "<cancelled #9 timeout_idle after 'Hel'>"


def test_repr_shows_no_prompt() -> None:
    assert not any("secret" in repr(event) for event in EVENTS)
    assert repr(EVENTS[6]) == "<done #7 'Hello' Context(2 messages)>"


def test_every_event_is_json_under_its_stream_seq_and_type() -> None:
    reason = {
        "kind": "rate_limit",
        "message": "slow down",
        "status": 429,
        "retryable": True,
        "retry_after": 1.5,
        "provider": "openai",
    }
    tokens = {"input": 1, "output": 1, "thinking": None, "estimated": False}
    bodies: list[dict[str, Any]] = [
        {"type": "started", "model": "gpt-x", "provider": "openai", "attempt": 1},
        {"type": "content", "content": "Hello"},
        {"type": "thinking", "content": "hm"},
        {
            "type": "tool_use",
            "content": "{",
            "metadata": {"index": 0, "id": "c", "name": "f"},
        },
        {"type": "citation", "content": "", "metadata": {"url": "https://example.org"}},
        {
            "type": "retrying",
            "attempt": 2,
            "delay": 0.5,
            "reason": reason,
            "reset": True,
            "provider": None,
            "model": None,
        },
        {
            "type": "done",
            "content": "Hello",
            "thinking": "",
            "tool_calls": [],
            "finish_reason": None,
            "usage": {**tokens, "output": 2},
            "metadata": {},
        },
        {
            "type": "error",
            "reason": reason,
            "content": "Hel",
            "usage": {**tokens, "estimated": True},
        },
        {
            "type": "cancelled",
            "content": "Hel",
            "reason": "timeout_idle",
            "by": "ada",
            "usage": tokens,
        },
    ]
    for seq, (event, body) in enumerate(zip(EVENTS, bodies, strict=True), 1):
        expected = {"stream": "s-1", "seq": seq, **body}
        assert event.to_dict("s-1") == expected
        assert json.loads(json.dumps(event.to_dict("s-1"), allow_nan=False)) == expected


def test_json_never_holds_the_conversation() -> None:
    assert "secret" not in json.dumps([event.to_dict("s") for event in EVENTS])


def test_structured_content_and_refs_become_json() -> None:
    class Ref:
        def __str__(self) -> str:
            return "node/streams/s"

    partial = chunk_event(Chunk("content", {"a": (1, float("nan"))}, {"usage": Usage(1)}), 1)
    assert partial.to_dict("s")["content"] == {"a": [1, None]}
    assert partial.to_dict("s")["metadata"]["usage"]["input"] == 1
    assert CancelledEvent({"a": (1,)}, by=Ref()).to_dict("s")["by"] == "node/streams/s"
    assert CancelledEvent({"a": (1,)}).to_dict("s")["content"] == {"a": [1]}


def test_all_chunk_events_are_chunk_events_and_all_are_events() -> None:
    assert [isinstance(event, ChunkEvent) for event in EVENTS] == [False, *[True] * 4, *[False] * 4]
    assert all(isinstance(event, Event) for event in EVENTS)
