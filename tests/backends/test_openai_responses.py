"""What goes to the OpenAI Responses API: items, options, headers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from puckstream.backends.base import Request
from puckstream.backends.openai_responses import OpenAIResponses
from puckstream.errors import MissingKey, StreamError

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}


def body(*messages: dict[str, Any], **options: Any) -> dict[str, Any]:
    backend = OpenAIResponses("gpt-x", base_url="http://h/v1", api_key="k")
    sent: dict[str, Any] = json.loads(json.dumps(backend.request_body(Request(messages, options))))
    return sent


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_the_conversation_is_a_list_of_items() -> None:
    said = body(
        {"role": "system", "content": "Be brief."},
        user("Where?"),
        {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "blue"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "grey"}]},
    )
    call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": 1}'}
    output = {"type": "function_call_output", "call_id": "c1"}
    assert said == {
        "model": "gpt-x",
        "stream": True,
        "input": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Where?"},
            {"role": "assistant", "content": "Let me look."},
            call,
            {**output, "output": "blue"},
            call,
            {**output, "output": [{"type": "input_text", "text": "grey"}]},
        ],
    }


def test_parts_are_named_by_who_says_them() -> None:
    file = {"type": "input_file", "file_id": "f"}
    text = {"type": "text", "text": "a"}
    image = {"type": "image_url", "image_url": {"url": "https://h/a.png", "detail": "low"}}
    said = body(user([text, image, file]), {"role": "assistant", "content": [text]})
    assert said["input"][0]["content"] == [
        {"type": "input_text", "text": "a"},
        {"type": "input_image", "image_url": "https://h/a.png", "detail": "low"},
        file,
    ]
    assert said["input"][1]["content"] == [{"type": "output_text", "text": "a"}]


def test_items_go_back_as_they_came_and_unsealed_reasoning_only_where_it_is_stored() -> None:
    sealed = {"type": "reasoning", "id": "rs_1", "encrypted_content": "x"}
    open_ = {"type": "reasoning", "id": "rs_2", "summary": []}
    message = {"type": "message", "id": "msg_1", "content": []}
    native = {"openai-responses": [sealed, open_, message]}
    turn = {"role": "assistant", "content": "a", "native": native}
    assert body(user("x"), turn)["input"][1:] == [sealed, open_, message]
    assert body(user("x"), turn, store=False)["input"][1:] == [sealed, message]


def test_options_of_chat_completions_are_put_in_the_words_of_responses() -> None:
    function = {"name": "look", "parameters": {"type": "object"}, "strict": True}
    own = {"type": "web_search"}
    said = body(
        user("x"),
        tools=[{"type": "function", "function": function}, own],
        tool_choice={"type": "function", "function": {"name": "look"}},
        max_tokens=5,
        stream_options={"include_usage": True},
        reasoning={"summary": "auto"},
    )
    assert said["tools"] == [{"type": "function", **function}, own]
    assert said["tool_choice"] == {"type": "function", "name": "look"}
    assert (said["max_output_tokens"], said["reasoning"]) == (5, {"summary": "auto"})
    assert {"max_tokens", "stream_options"}.isdisjoint(said)
    assert body(user("x"), tool_choice="auto")["tool_choice"] == "auto"


def test_an_answer_in_the_background_is_refused_because_it_would_outlive_its_stream() -> None:
    with pytest.raises(StreamError, match="background") as caught:
        body(user("x"), background=True)
    assert caught.value.kind == "invalid_request"


def test_address_and_key_are_those_of_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(MissingKey, match="OPENAI_API_KEY"):
        OpenAIResponses("m")
    backend = OpenAIResponses("m", api_key="k", organization="org")
    assert backend.url() == "https://api.openai.com/v1/responses"
    assert backend.credentials() == {"authorization": "Bearer k", "openai-organization": "org"}
