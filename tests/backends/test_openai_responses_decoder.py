"""The OpenAI Responses dialect as it is spoken: events in, chunks out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from puckstream.backends.base import Chunk, Usage
from puckstream.backends.openai_responses_decoder import ResponsesDecoder
from puckstream.backends.sse import SseEvent
from puckstream.errors import StreamError

RESPONSE = {"id": "resp_1", "object": "response", "model": "gpt-x", "status": "in_progress"}
CREATED = {"type": "response.created", "sequence_number": 0, "response": RESPONSE}
USAGE = {
    "input_tokens": 4,
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 3},
}


def text(delta: str, **fields: Any) -> dict[str, Any]:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
    return {"type": "response.output_text.delta", **place, "delta": delta, **fields}


def item(what: str, index: int, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.output_item.{what}", "output_index": index, "item": fields}


def end(status: str = "completed", **fields: Any) -> dict[str, Any]:
    response = {**RESPONSE, "status": status, "usage": USAGE, **fields}
    return {"type": f"response.{status}", "response": response}


def decoded(*objects: dict[str, Any]) -> list[Chunk]:
    decoder = ResponsesDecoder("openai-responses", ("sk-secret",))
    chunks = [
        chunk
        for said in objects
        for chunk in decoder.decode(SseEvent(json.dumps(said).encode(), said["type"]))
    ]
    return [*chunks, decoder.finish()]


def test_text_arrives_once_and_what_frames_or_repeats_it_is_skipped() -> None:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    part = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    chunks = decoded(
        CREATED,
        {"type": "response.in_progress", "response": RESPONSE},
        {"type": "response.queued", "response": RESPONSE},
        item("added", 0, **message),
        {"type": "response.content_part.added", **part, "part": {"type": "output_text"}},
        text("Hé"),
        text(""),
        text("llo", logprobs=[{"token": "llo"}]),
        {"type": "response.output_text.done", **part, "text": "Héllo"},
        {"type": "response.content_part.done", **part, "part": {"type": "output_text"}},
        item("done", 0, **message),
        end(),
    )
    assert [chunk[:2] for chunk in chunks] == [
        ("content", "Hé"),
        ("content", "llo"),
        ("finish", ""),
    ]
    assert chunks[0].metadata == {"model": "gpt-x", "response_id": "resp_1"}
    assert chunks[1].metadata == {"logprobs": [{"token": "llo"}]}
    assert chunks[-1].metadata == {
        "finish_reason": "stop",
        "usage": Usage(4, 9, 3),
        "usage_details": USAGE,
        "model": "gpt-x",
        "response_id": "resp_1",
        "status": "completed",
    }


def test_reasoning_is_thinking_in_paragraphs_and_goes_back_with_the_turn() -> None:
    part: dict[str, Any] = {"item_id": "rs_1", "output_index": 0}
    reasoning = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "seal"}
    message = {"id": "msg_1", "type": "message", "content": [{"type": "output_text", "text": "a"}]}
    summary = "response.reasoning_summary_text.delta"
    chunks = decoded(
        item("added", 0, **reasoning),
        {"type": "response.reasoning_summary_part.added", **part, "summary_index": 0},
        {"type": summary, **part, "summary_index": 0, "delta": "One."},
        {"type": "response.reasoning_summary_text.done", **part, "text": "One."},
        {"type": "response.reasoning_summary_part.done", **part},
        {"type": "response.reasoning_summary_part.added", **part, "summary_index": 1},
        {"type": summary, **part, "summary_index": 1, "delta": "Two."},
        {"type": "response.reasoning_text.delta", **part, "content_index": 0, "delta": "Open."},
        {"type": "response.reasoning_text.done", **part, "text": "Open."},
        item("done", 0, **reasoning),
        text("a"),
        item("done", 1, **message),
        end(),
    )
    thinking = [chunk.content for chunk in chunks if chunk.type == "thinking"]
    assert thinking == ["One.", "\n\n", "Two.", "Open."]
    assert chunks[-1].native == {"openai-responses": [reasoning, message]}


def test_function_calls_are_numbered_and_every_delta_knows_its_call() -> None:
    add = {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "add", "arguments": ""}
    mul = {"type": "function_call", "id": "fc_2", "call_id": "b", "name": "mul"}
    arguments = "response.function_call_arguments"
    chunks = decoded(
        item("added", 1, **add),
        {"type": f"{arguments}.delta", "item_id": "fc_1", "output_index": 1, "delta": '{"x":'},
        {"type": f"{arguments}.delta", "item_id": "fc_1", "output_index": 1, "delta": "1}"},
        {"type": f"{arguments}.done", "item_id": "fc_1", "output_index": 1, "arguments": '{"x":1}'},
        item("done", 1, **{**add, "arguments": '{"x":1}'}),
        item("added", 2, **mul),
        {"type": f"{arguments}.done", "item_id": "fc_2", "output_index": 2, "arguments": "{}"},
        item("done", 2, **{**mul, "arguments": "{}"}),
        item("done", 3, **{**mul, "call_id": "c", "id": "fc_3", "arguments": "[]"}),
        end(),
    )
    tools = [chunk.metadata for chunk in chunks if chunk.type == "tool_use"]
    assert [(t["index"], t["id"], t["name"], t["arguments"]) for t in tools] == [
        (0, "a", "add", ""),
        (0, "a", "add", '{"x":'),
        (0, "a", "add", "1}"),
        (1, "b", "mul", ""),
        (1, "b", "mul", "{}"),  # only with its end, as some servers send it
        (2, "c", "mul", ""),
        (2, "c", "mul", "[]"),  # only with the end of the item
    ]
    assert chunks[-1].finish_reason == "tool_calls"
    assert "native" not in chunks[-1].metadata


def test_arguments_before_their_item_are_kept_and_the_name_comes_later() -> None:
    delta = {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "delta": "{}"}
    call = {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "add"}
    chunks = decoded({**delta, "output_index": 0}, item("done", 0, **call, arguments="{}"), end())
    assert [chunk.content for chunk in chunks] == ["", "{}", ""]


def test_a_refusal_is_a_chunk_of_its_own_type() -> None:
    refusal = {"type": "response.refusal.delta", "delta": "no"}
    assert decoded(refusal, {"type": "response.refusal.done", "refusal": "no"}, end())[0] == Chunk(
        "refusal", "no"
    )


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.web_search_call.searching", "item_id": "ws_1"},
        {"type": "response.mcp_call_arguments.delta", "delta": "{"},
        {"type": "response.image_generation_call.partial_image", "partial_image_b64": "x"},
        {"type": "response.audio.delta", "delta": "x"},
        {"type": "response.output_text.annotation.added", "annotation": {"url": "u"}},
        {"type": "response.compaction.compacting"},
        item("added", 0, type="web_search_call", id="ws_1"),
        {"type": "something.new", "x": 1},
    ],
)
def test_every_other_family_passes_through(event: dict[str, Any]) -> None:
    assert decoded(event, end())[0] == Chunk("raw", event, {"event": event["type"]})


def test_items_of_other_kinds_go_back_with_the_turn() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    assert decoded(item("done", 0, **search), end())[-1].native == {"openai-responses": [search]}


@pytest.mark.parametrize(
    ("reason", "finish_reason"),
    [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("new", "new")],
)
def test_an_incomplete_answer_says_why(reason: str, finish_reason: str) -> None:
    finish = decoded(text("a"), end("incomplete", incomplete_details={"reason": reason}))[-1]
    assert (finish.finish_reason, finish.status) == (finish_reason, "incomplete")


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [
        ("server_error", "server", True),
        ("rate_limit_exceeded", "rate_limit", True),
        ("insufficient_quota", "rate_limit", False),
        ("vector_store_timeout", "server", True),
        ("invalid_prompt", "invalid_request", False),
        ("invalid_api_key", "auth", False),
        ("image_content_policy_violation", "content_filter", False),
        ("bio_policy", "content_filter", False),
        ("image_too_large", "invalid_request", False),
        ("data_residency_mismatch", "invalid_request", False),
        (None, "server", True),
    ],
)
def test_a_failure_is_an_error_of_its_kind(code: str | None, kind: str, retryable: bool) -> None:
    failed = end("failed", error={"code": code, "message": "no: sk-secret"})
    event = {"type": "error", "code": code, "message": "no: sk-secret", "param": None}
    wrapped = {"type": "error", "error": {"code": code, "message": "no: sk-secret"}}
    for said in (failed, event, wrapped):
        with pytest.raises(StreamError) as caught:
            decoded(CREATED, text("a"), said)
        raised = caught.value
        assert (raised.kind, raised.retryable, raised.message) == (kind, retryable, "no: ***")


@pytest.mark.parametrize("said", [[], [CREATED], [CREATED, text("a")]])
def test_an_answer_that_just_stops_is_a_broken_connection(said: list[dict[str, Any]]) -> None:
    with pytest.raises(StreamError, match=r"neither response.completed nor") as caught:
        decoded(*said)
    assert (caught.value.kind, caught.value.retryable) == ("connection", True)


def test_done_and_heartbeats_of_compatible_servers_say_nothing() -> None:
    decoder = ResponsesDecoder("openai-responses")
    assert decoder.decode(SseEvent(b"[DONE]")) == []
    assert decoder.decode(SseEvent(b"")) == []
    named = SseEvent(b'{"delta": "a"}', "response.output_text.delta")
    assert decoder.decode(named)[0][:2] == ("content", "a")


@pytest.mark.parametrize(
    "data", [b'{"type": "resp', b"nonsense", b'"x"', b"\xff", b'{"item": 1}', b'{"\x80": 1}']
)
def test_what_is_no_event_is_a_parse_error_that_shows_it(data: bytes) -> None:
    with pytest.raises(StreamError, match="cannot read a chunk") as caught:
        ResponsesDecoder("openai-responses").decode(SseEvent(data))
    assert caught.value.kind == "parse"
