"""Ollama's native dialect as it is spoken: lines in, chunks out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from puckstream.backends.base import Chunk, Usage
from puckstream.backends.ollama_decoder import OllamaDecoder
from puckstream.errors import StreamError


def line(done: bool = False, **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": "", **message}
    return {"model": "qwen", "created_at": "2026-01-01T00:00:00Z", "message": said, "done": done}


def decoded(*objects: object) -> list[Chunk]:
    decoder = OllamaDecoder("ollama", ("sk-secret",))
    chunks = [
        chunk for said in objects for chunk in decoder.decode(json.dumps(said).encode() + b"\n")
    ]
    return [*chunks, decoder.finish()]


END = {
    **line(done=True),
    "done_reason": "stop",
    "total_duration": 5,
    "eval_duration": 3,
    "prompt_eval_count": 4,
    "eval_count": 6,
}


def test_thinking_and_text_arrive_as_they_were_written_and_durations_are_kept() -> None:
    chunks = decoded(line(thinking="Hm"), line(content="Hé"), line(content="llo"), line(), END)
    assert [chunk[:2] for chunk in chunks] == [
        ("thinking", "Hm"),
        ("content", "Hé"),
        ("content", "llo"),
        ("finish", ""),
    ]
    assert chunks[-1].metadata == {
        "finish_reason": "stop",
        "usage": Usage(4, 6),
        "model": "qwen",
        "done_reason": "stop",
        "timings": {"total_duration": 5, "eval_duration": 3},
    }


def test_tool_calls_come_whole_and_get_a_number_and_an_id() -> None:
    calls = [
        {"function": {"name": "add", "arguments": {"x": 1, "é": "灯"}}},
        {"id": "mine", "function": {"index": 1, "name": "mul", "arguments": None}},
    ]
    chunks = decoded(
        line(thinking="Hm"), line(tool_calls=calls[:1]), line(tool_calls=calls[1:]), END
    )
    tools = [chunk.metadata for chunk in chunks if chunk.type == "tool_use"]
    assert [(t["index"], t["id"], t["name"], t["arguments"]) for t in tools] == [
        (0, "call_0", "add", '{"x":1,"é":"灯"}'),
        (1, "mine", "mul", "{}"),
    ]
    assert all(chunk.content == chunk.arguments for chunk in chunks if chunk.type == "tool_use")
    assert (chunks[-1].finish_reason, chunks[-1].done_reason) == ("tool_calls", "stop")
    assert chunks[-1].native == {"ollama": {"thinking": "Hm"}}


def test_arguments_that_are_text_already_stay_as_they_are() -> None:
    call = {"function": {"name": "f", "arguments": '{"a": 1}'}}
    assert decoded(line(tool_calls=[call]), END)[0].arguments == '{"a": 1}'


@pytest.mark.parametrize("reason", ["length", "load", None])
def test_the_reason_to_stop_is_told(reason: str | None) -> None:
    finish = decoded({**END, "done_reason": reason})[-1]
    assert finish.finish_reason == (reason or "stop")


def test_an_answer_that_is_one_object_is_read_too() -> None:
    whole = {**END, "message": {"role": "assistant", "content": "all of it", "thinking": "hm"}}
    assert [chunk[:2] for chunk in decoded(whole)] == [
        ("thinking", "hm"),
        ("content", "all of it"),
        ("finish", ""),
    ]


def test_logprobs_stay_with_their_chunk() -> None:
    assert decoded({**line(content="a"), "logprobs": [1]}, END)[0].logprobs == [1]


def test_unknown_and_missing_fields_are_no_trouble() -> None:
    chunks = decoded({}, {"message": None, "done": False, "new": {}}, {"done": True})
    assert [chunk.type for chunk in chunks] == ["finish"]
    assert chunks[0].usage == Usage()


@pytest.mark.parametrize(("said", "begun"), [([], "began"), ([line(content="a")], "complete")])
def test_an_answer_that_just_stops_is_a_broken_connection(said: list[Any], begun: str) -> None:
    with pytest.raises(StreamError, match=f"before it (was )?{begun}: no line with done") as caught:
        decoded(*said)
    assert (caught.value.kind, caught.value.retryable) == ("connection", True)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ("an error was encountered: sk-secret", "server", "an error was encountered: ***"),
        ({"message": "full", "type": "overloaded_error"}, "overloaded", "full"),
    ],
)
def test_an_error_after_http_200_is_an_error(error: object, kind: str, message: str) -> None:
    with pytest.raises(StreamError) as caught:
        decoded(line(content="a"), {"error": error})
    assert (caught.value.kind, caught.value.message, caught.value.provider) == (
        kind,
        message,
        "ollama",
    )


@pytest.mark.parametrize("data", [b'{"message": {', b"nonsense", b'"x"', b"\xff", b'{"done": 1}'])
def test_what_is_no_line_is_a_parse_error_that_shows_it(data: bytes) -> None:
    with pytest.raises(StreamError, match="cannot read a chunk") as caught:
        OllamaDecoder("ollama").decode(data)
    assert caught.value.kind == "parse"
