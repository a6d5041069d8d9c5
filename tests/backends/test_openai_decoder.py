"""The OpenAI dialect as it is spoken: events in, chunks out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from puckstream.backends.base import Chunk, Usage
from puckstream.backends.openai_decoder import ChatDecoder
from puckstream.backends.sse import SseEvent
from puckstream.errors import StreamError


def delta(finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m-1",
        "choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}],
    }


def decoded(*objects: object, done: bool = True) -> list[Chunk]:
    decoder = ChatDecoder("openai", ("sk-secret",))
    chunks = [
        chunk for said in objects for chunk in decoder.decode(SseEvent(json.dumps(said).encode()))
    ]
    if done:
        assert decoder.decode(SseEvent(b"[DONE]")) == []
        assert decoder.done
    return [*chunks, decoder.finish()]


def test_text_arrives_as_it_was_written_and_ends_with_one_finish() -> None:
    chunks = decoded(
        delta(role="assistant", content=""),
        delta(content="Hé"),
        delta(content=None),
        delta(content="llo"),
        delta("stop"),
        {
            "id": "chatcmpl-1",
            "choices": [],
            "usage": {
                "prompt_tokens": 3,
                "completion_tokens": 5,
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
        },
    )
    assert [chunk[:2] for chunk in chunks] == [
        ("content", "Hé"),
        ("content", "llo"),
        ("finish", ""),
    ]
    finish = chunks[-1]
    assert finish.finish_reason == "stop"
    assert finish.usage == Usage(3, 5, 2)
    assert (finish.model, finish.response_id) == ("m-1", "chatcmpl-1")
    assert finish.usage_details["completion_tokens"] == 5


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_is_thinking_under_either_name(field: str) -> None:
    assert decoded(delta(**{field: "hm"}))[0] == Chunk("thinking", "hm")


def test_reasoning_wins_over_its_old_name_and_is_not_said_twice() -> None:
    chunks = decoded(delta(reasoning="new", reasoning_content="old"))
    assert [chunk.content for chunk in chunks] == ["new", ""]


def test_a_refusal_is_a_chunk_of_its_own_type() -> None:
    assert decoded(delta(refusal="no"))[0] == Chunk("refusal", "no")


def test_tool_calls_are_told_apart_by_index_and_every_delta_knows_its_call() -> None:
    def call(index: int, arguments: str, **fields: Any) -> dict[str, Any]:
        name = fields.pop("name", None)
        function = {"arguments": arguments, **({"name": name} if name else {})}
        return {"index": index, "function": function, **fields}

    chunks = decoded(
        delta(tool_calls=[call(0, "", id="a", name="add", type="function")]),
        delta(tool_calls=[call(1, "{", id="b", name="mul"), call(0, '{"x":')]),
        delta(tool_calls=[call(0, "1}"), call(1, "}")]),
        delta("tool_calls"),
    )
    tools = [chunk.metadata for chunk in chunks if chunk.type == "tool_use"]
    assert [(t["index"], t["id"], t["name"], t["arguments"]) for t in tools] == [
        (0, "a", "add", ""),
        (1, "b", "mul", "{"),
        (0, "a", "add", '{"x":'),
        (0, "a", "add", "1}"),
        (1, "b", "mul", "}"),
    ]
    assert all(chunk.content == chunk.arguments for chunk in chunks if chunk.type == "tool_use")
    assert chunks[-1].finish_reason == "tool_calls"


def test_tool_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    chunks = decoded(
        delta(tool_calls=[{"id": "a", "function": {"name": "f", "arguments": "1"}}]),
        delta(tool_calls=[{"function": {"arguments": "2"}}]),
        delta(tool_calls=[{"id": "b", "function": {"name": "g", "arguments": "3"}}]),
    )
    tools = [chunk.metadata for chunk in chunks[:-1]]
    assert [(t["index"], t["id"], t["arguments"]) for t in tools] == [
        (0, "a", "1"),
        (0, "a", "2"),
        (1, "b", "3"),
    ]


def test_usage_on_every_chunk_and_timings_stay_with_their_chunk() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    chunks = decoded(
        {**delta(content="a"), "usage": usage},
        {**delta("stop", content="b"), "timings": {"predicted_per_second": 9.5}},
    )
    assert chunks[0].usage == Usage(1, 1)
    assert chunks[1].timings == {"predicted_per_second": 9.5}
    assert chunks[-1].timings == {"predicted_per_second": 9.5}
    assert chunks[-1].usage == Usage(1, 1)


def test_logprobs_stay_with_their_chunk() -> None:
    said = delta(content="a")
    said["choices"][0]["logprobs"] = {"content": []}
    assert decoded(said)[0].logprobs == {"content": []}


def test_unknown_and_missing_fields_are_no_trouble() -> None:
    chunks = decoded(
        {"choices": [], "prompt_filter_results": [{}]},
        {"id": None, "choices": None, "obfuscation": "x"},
        {"choices": [{"delta": None, "finish_reason": None}]},
        {"choices": [{"delta": {"content": "a", "annotations": [1], "audio": {}}}]},
        {},
    )
    assert [chunk.content for chunk in chunks] == ["a", ""]
    assert chunks[-1].metadata == {
        "finish_reason": None,
        "usage": Usage(),
        "model": None,
        "response_id": None,
    }


def test_a_stream_is_one_answer_and_other_choices_are_skipped() -> None:
    other = {"index": 1, "delta": {"content": "b"}, "finish_reason": "length"}
    both = delta("stop", content="a")
    both["choices"].append(other)
    chunks = decoded(both, {**delta(), "choices": [other]})
    assert [chunk.content for chunk in chunks] == ["a", ""]
    assert chunks[-1].finish_reason == "stop"


def test_a_function_call_of_old_servers_is_a_tool_call() -> None:
    chunks = decoded(
        delta(function_call={"name": "look", "arguments": ""}),
        delta(function_call={"arguments": "{}"}),
        delta("function_call"),
    )
    tools = [dict(chunk.metadata) for chunk in chunks if chunk.type == "tool_use"]
    known = {"index": 0, "id": None, "name": "look"}
    assert tools == [{**known, "arguments": ""}, {**known, "arguments": "{}"}]
    assert chunks[-1].finish_reason == "function_call"


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_what_was_thought_before_a_call_goes_back_under_its_name(field: str) -> None:
    call = delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f"}}])
    thought = [delta(**{field: "Let me "}), delta(**{field: "see."})]
    assert decoded(*thought, call, delta("tool_calls"))[-1].native == {
        "openai": {field: "Let me see."}
    }
    assert "native" not in decoded(*thought, delta("stop"))[-1].metadata


def test_an_error_whose_other_fields_cannot_be_read_is_an_error_all_the_same() -> None:
    with pytest.raises(StreamError, match="without a message") as caught:
        ChatDecoder("openai").decode(SseEvent(b'{"object": "error", "\x80": 1}'))
    assert caught.value.kind == "server"


def test_a_heartbeat_without_data_says_nothing() -> None:
    assert ChatDecoder("openai").decode(SseEvent(b"")) == []


def test_a_finish_reason_ends_an_answer_without_done() -> None:
    assert decoded(delta("length", content="a"), done=False)[-1].finish_reason == "length"


@pytest.mark.parametrize("said", [[], [delta(content="a")]])
def test_an_answer_that_just_stops_is_a_broken_connection(said: list[object]) -> None:
    with pytest.raises(StreamError, match="neither finish_reason nor") as caught:
        decoded(*said, done=False)
    assert (caught.value.kind, caught.value.retryable) == ("connection", True)


@pytest.mark.parametrize(
    ("said", "name", "kind", "message"),
    [
        ({"error": {"message": "full", "type": "overloaded_error"}}, "", "overloaded", "full"),
        ({"error": "out of memory"}, "", "server", "out of memory"),
        (
            {"object": "error", "message": "too long", "code": 400},
            "",
            "invalid_request",
            "too long",
        ),
        ({"message": "bad"}, "error", "server", "bad"),
        ({"error": {"message": "sk-secret is wrong", "code": 401}}, "", "auth", "*** is wrong"),
    ],
)
def test_an_error_after_http_200_is_an_error(
    said: object, name: str, kind: str, message: str
) -> None:
    event = SseEvent(json.dumps(said).encode(), name or "message")
    with pytest.raises(StreamError) as caught:
        ChatDecoder("openai", ("sk-secret",)).decode(event)
    assert (caught.value.kind, caught.value.message) == (kind, message)
    assert caught.value.provider == "openai"


@pytest.mark.parametrize(
    "data", [b'{"id": "cha', b"nonsense", b'"text"', b"\xff", b'{"choices": 1}']
)
def test_what_is_no_chunk_is_a_parse_error_that_shows_it(data: bytes) -> None:
    with pytest.raises(StreamError, match="cannot read a chunk") as caught:
        ChatDecoder("openai").decode(SseEvent(data))
    assert caught.value.kind == "parse"


def test_a_parse_error_shows_no_key() -> None:
    with pytest.raises(StreamError) as caught:
        ChatDecoder("openai", ("sk-secret",)).decode(SseEvent(b"{sk-secret"))
    assert "sk-secret" not in str(caught.value)
