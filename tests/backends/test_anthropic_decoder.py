"""The Anthropic dialect as it is spoken: events in, chunks out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from puckstream.backends.anthropic_decoder import MessagesDecoder
from puckstream.backends.base import Chunk, Usage
from puckstream.backends.sse import SseEvent
from puckstream.errors import StreamError

HEAD = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1},
    },
}
STOP = {"type": "message_stop"}


def start(index: int, type_: str, **fields: Any) -> dict[str, Any]:
    block = {"type": type_, **fields}
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, type_: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": type_, **fields}}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ending(reason: str = "end_turn", **usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def decoded(*objects: dict[str, Any], finish: bool = True) -> list[Chunk]:
    decoder = MessagesDecoder("anthropic", ("sk-secret",))
    chunks = [
        chunk
        for said in objects
        for chunk in decoder.decode(SseEvent(json.dumps(said).encode(), said["type"]))
    ]
    return [*chunks, decoder.finish()] if finish else chunks


def test_text_arrives_as_it_was_written_and_the_first_chunk_knows_the_model() -> None:
    chunks = decoded(
        HEAD,
        start(0, "text", text=""),
        {"type": "ping"},
        delta(0, "text_delta", text="Hé"),
        delta(0, "text_delta", text=""),
        delta(0, "text_delta", text="llo"),
        stop(0),
        ending(output_tokens=7),
        STOP,
    )
    assert [chunk[:2] for chunk in chunks] == [
        ("content", "Hé"),
        ("content", "llo"),
        ("finish", ""),
    ]
    assert chunks[0].metadata == {
        "usage": Usage(15),  # the output that the head counts is a placeholder
        "model": "claude-x",
        "response_id": "msg_1",
    }
    assert chunks[1].metadata == {}
    finish = chunks[-1]
    assert (finish.finish_reason, finish.stop_reason) == ("stop", "end_turn")
    assert finish.usage == Usage(15, 7)
    assert (finish.model, finish.response_id) == ("claude-x", "msg_1")
    assert "native" not in finish.metadata


def test_thinking_its_signature_and_what_is_sealed_go_back_as_they_came() -> None:
    chunks = decoded(
        HEAD,
        start(0, "thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="Let me "),
        delta(0, "thinking_delta", thinking="see."),
        delta(0, "signature_delta", signature="c2ln"),
        stop(0),
        start(1, "redacted_thinking", data="opaque"),
        stop(1),
        start(2, "text", text=""),
        delta(2, "text_delta", text="Here."),
        stop(2),
        start(3, "tool_use", id="t1", name="look", input={}),
        delta(3, "input_json_delta", partial_json='{"at": '),
        delta(3, "input_json_delta", partial_json='"sea"}'),
        stop(3),
        ending("tool_use", output_tokens=9),
        STOP,
    )
    assert [chunk[:2] for chunk in chunks] == [
        ("thinking", "Let me "),
        ("thinking", "see."),
        ("thinking", ""),
        ("redacted_thinking", ""),
        ("content", "Here."),
        ("tool_use", ""),
        ("tool_use", '{"at": '),
        ("tool_use", '"sea"}'),
        ("finish", ""),
    ]
    assert chunks[2].signature == "c2ln"
    assert chunks[3].data == "opaque"
    assert chunks[-1].native == {
        "anthropic": [
            {"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "opaque"},
            {"type": "text", "text": "Here."},
            {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "sea"}},
        ]
    }


def test_tool_calls_are_numbered_and_every_delta_knows_its_call() -> None:
    chunks = decoded(
        HEAD,
        start(0, "text", text="So: "),
        stop(0),
        start(1, "tool_use", id="a", name="add", input={}),
        delta(1, "input_json_delta", partial_json=""),
        delta(1, "input_json_delta", partial_json="{}"),
        stop(1),
        start(2, "tool_use", id="b", name="mul", input={"x": 1}),
        stop(2),
        ending("tool_use", output_tokens=3),
        STOP,
    )
    tools = [chunk.metadata for chunk in chunks if chunk.type == "tool_use"]
    assert [(t["index"], t["id"], t["name"], t["arguments"]) for t in tools] == [
        (0, "a", "add", ""),
        (0, "a", "add", "{}"),
        (1, "b", "mul", ""),
        (1, "b", "mul", '{"x":1}'),  # whole with its start, as some servers send it
    ]
    assert chunks[0][:2] == ("content", "So: ")
    assert chunks[-1].finish_reason == "tool_calls"
    assert "native" not in chunks[-1].metadata


def test_usage_is_cumulative_and_never_added_up() -> None:
    chunks = decoded(
        HEAD,
        ending(output_tokens=5),
        ending(output_tokens=12, cache_creation_input_tokens=3),
        {
            "type": "message_delta",
            "delta": {},
            "usage": {
                "input_tokens": 11,
                "output_tokens": 20,
                "output_tokens_details": {"thinking_tokens": 8},
            },
        },
        STOP,
    )
    assert chunks[-1].usage == Usage(11 + 5 + 3, 20, 8)
    assert chunks[-1].usage_details["output_tokens"] == 20
    assert chunks[-1].stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("said", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
        ("something_new", "something_new"),
    ],
)
def test_a_stop_reason_is_told_in_the_common_words_and_in_its_own(
    said: str, finish_reason: str
) -> None:
    finish = decoded(HEAD, ending(said, output_tokens=1), STOP)[-1]
    assert (finish.finish_reason, finish.stop_reason) == (finish_reason, said)


def test_what_stopped_it_is_told() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": None}
    said = {"stop_reason": "refusal", "stop_sequence": "END", "stop_details": details}
    finish = decoded(HEAD, {"type": "message_delta", "delta": said}, STOP)[-1]
    assert (finish.stop_sequence, finish.stop_details) == ("END", details)


def test_server_tools_and_citations_pass_through_and_go_back() -> None:
    citation = {"type": "char_location", "cited_text": "x"}
    result = {"tool_use_id": "s1", "content": [{"type": "web_search_result", "url": "u"}]}
    events = [
        start(0, "server_tool_use", id="s1", name="web_search", input={}),
        delta(0, "input_json_delta", partial_json='{"query": "x"}'),
        stop(0),
        start(1, "web_search_tool_result", **result),
        stop(1),
        start(2, "text", text="", citations=[]),
        delta(2, "citations_delta", citation=citation),
        delta(2, "text_delta", text="So."),
        stop(2),
    ]
    chunks = decoded(HEAD, *events, ending(output_tokens=1), STOP)
    raw = [chunk for chunk in chunks if chunk.type == "raw"]
    assert [chunk.content for chunk in raw] == [events[0], events[1], events[3], events[6]]
    assert [chunk.event for chunk in raw][:2] == ["content_block_start", "content_block_delta"]
    assert chunks[-1].native["anthropic"] == [
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", **result},
        {"type": "text", "text": "So.", "citations": [citation]},
    ]


def test_a_turn_that_cannot_be_put_together_is_not_sent_back() -> None:
    thinking = [
        start(0, "thinking", thinking=""),
        delta(0, "signature_delta", signature="s"),
        stop(0),
    ]
    new = [start(1, "compaction"), delta(1, "compaction_delta", content="x"), stop(1)]
    cut = [
        start(1, "tool_use", id="t", name="f", input={}),
        delta(1, "input_json_delta", partial_json='{"a": '),
        stop(1),
    ]
    for more in (new, cut):
        finish = decoded(HEAD, *thinking, *more, ending("max_tokens"), STOP)[-1]
        assert "native" not in finish.metadata


def test_thinking_that_nobody_signed_does_not_go_back() -> None:
    unsigned = [start(0, "thinking", thinking=""), delta(0, "thinking_delta", thinking="Hm")]
    chunks = decoded(HEAD, *unsigned, stop(0), ending(), STOP)
    assert chunks[0][:2] == ("thinking", "Hm")
    assert "native" not in chunks[-1].metadata


def test_event_types_that_nobody_knows_are_skipped() -> None:
    assert decoded(HEAD, {"type": "brand_new", "x": 1}, {"type": "ping"}, finish=False) == []
    decoder = MessagesDecoder("anthropic")
    assert decoder.decode(SseEvent(b"")) == []
    assert decoder.decode(SseEvent(b"{}", "brand_new")) == []


def test_blocks_that_were_never_started_are_read_by_their_deltas() -> None:
    chunks = decoded(
        delta(0, "thinking_delta", thinking="Hm"), delta(1, "text_delta", text="a"), ending(), STOP
    )
    assert [chunk[:2] for chunk in chunks[:2]] == [("thinking", "Hm"), ("content", "a")]


def test_a_stop_reason_ends_an_answer_without_message_stop() -> None:
    assert decoded(HEAD, ending("max_tokens"))[-1].finish_reason == "length"


@pytest.mark.parametrize(
    ("said", "begun"),
    [
        ([], "before it began"),
        ([HEAD], "before it was complete"),
        ([HEAD, start(0, "text", text="a"), stop(0)], "before it was complete"),
    ],
)
def test_an_answer_that_just_stops_is_a_broken_connection(
    said: list[dict[str, Any]], begun: str
) -> None:
    with pytest.raises(StreamError, match="neither a stop_reason nor message_stop") as caught:
        decoded(*said)
    assert (caught.value.kind, caught.value.retryable) == ("connection", True)
    assert begun in caught.value.message


@pytest.mark.parametrize(
    ("type_", "kind", "retryable"),
    [
        ("overloaded_error", "overloaded", True),
        ("rate_limit_error", "rate_limit", True),
        ("api_error", "server", True),
        ("timeout_error", "server", True),
        ("billing_error", "auth", False),
        ("authentication_error", "auth", False),
        ("permission_error", "auth", False),
        ("invalid_request_error", "invalid_request", False),
        ("not_found_error", "invalid_request", False),
        ("request_too_large", "invalid_request", False),
    ],
)
def test_an_error_after_http_200_is_an_error_of_its_kind(
    type_: str, kind: str, retryable: bool
) -> None:
    error = {"type": "error", "error": {"type": type_, "message": "no: sk-secret"}}
    with pytest.raises(StreamError) as caught:
        decoded(HEAD, delta(0, "text_delta", text="a"), error)
    raised = caught.value
    assert (raised.kind, raised.retryable, raised.message) == (kind, retryable, "no: ***")
    assert raised.provider == "anthropic"


@pytest.mark.parametrize(
    "data",
    [
        b'{"type": "content_blo',
        b"nonsense",
        b'"text"',
        b"\xff",
        b'{"type": "content_block_delta", "delta": 1}',
        b'{"type": "content_block_start", "\x80": 1, "content_block": {"type": "new"}}',
    ],
)
def test_what_is_no_event_is_a_parse_error_that_shows_it(data: bytes) -> None:
    with pytest.raises(StreamError, match="cannot read a chunk") as caught:
        MessagesDecoder("anthropic").decode(SseEvent(data))
    assert (caught.value.kind, caught.value.retryable) == ("parse", False)
