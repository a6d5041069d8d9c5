"""What goes to Anthropic: turns, options, headers, address and key."""

from __future__ import annotations

import json
from typing import Any

import pytest

import puckstream as puck
from puckstream.backends.anthropic import Anthropic
from puckstream.backends.base import Request
from puckstream.errors import InvalidOption, MissingKey, StreamError

CALL = {
    "id": "t1",
    "type": "function",
    "function": {"name": "look", "arguments": '{"at": "sea"}'},
}


def body(*messages: dict[str, Any], **options: Any) -> dict[str, Any]:
    backend = Anthropic("claude-x", base_url="http://h", api_key="k")
    said = backend.request_body(Request(messages, options))
    sent: dict[str, Any] = json.loads(
        json.dumps({name: v for name, v in said.items() if v is not None})
    )
    return sent


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_a_question_is_a_turn_and_an_instruction_is_the_system() -> None:
    assert body({"role": "system", "content": "Be brief."}, user("Hi")) == {
        "model": "claude-x",
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "max_tokens": 16384,
    }


def test_instructions_are_gathered_wherever_they_stand() -> None:
    cached = {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}}
    said = body(
        {"role": "system", "content": "a"}, user("x"), {"role": "developer", "content": "c"}
    )
    assert (said["system"], len(said["messages"])) == ("a\n\nc", 1)
    said = body(
        {"role": "system", "content": "a"}, {"role": "system", "content": [cached]}, user("")
    )
    assert said["system"] == [{"type": "text", "text": "a"}, cached]


def test_calls_and_results_of_tools_are_blocks_and_results_come_first() -> None:
    other = {**CALL, "id": "t2", "function": {"name": "see", "arguments": ""}}
    said = body(
        user("Where?"),
        {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL, other]},
        {"role": "tool", "tool_call_id": "t1", "content": "blue"},
        {"role": "tool", "tool_call_id": "t2", "content": "fog", "is_error": True},
        user("And now?"),
    )
    assert [turn["role"] for turn in said["messages"]] == ["user", "assistant", "user"]
    assert said["messages"][1]["content"] == [
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "sea"}},
        {"type": "tool_use", "id": "t2", "name": "see", "input": {}},
    ]
    assert said["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "t1", "content": "blue"},
        {"type": "tool_result", "tool_use_id": "t2", "content": "fog", "is_error": True},
        {"type": "text", "text": "And now?"},
    ]


def test_a_turn_that_must_go_back_as_it_came_does() -> None:
    native = [
        {"type": "thinking", "thinking": "Hm", "signature": "s"},
        {"type": "text", "text": "A."},
    ]
    turn = {"role": "assistant", "content": "A.", "native": {"anthropic": native}}
    assert body(user("x"), turn, user("y"))["messages"][1]["content"] == native
    foreign = {"role": "assistant", "content": "A.", "native": {"openai-responses": [1]}}
    assert body(user("x"), foreign)["messages"][1]["content"] == "A."


def test_images_are_told_by_data_or_by_address_and_other_parts_pass() -> None:
    document = {"type": "document", "source": {"type": "text", "data": "x"}}
    parts = [
        {"type": "text", "text": "See:"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://h/a.png", "detail": "low"}},
        document,
    ]
    assert body(user(parts))["messages"][0]["content"] == [
        {"type": "text", "text": "See:"},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
        },
        {"type": "image", "source": {"type": "url", "url": "https://h/a.png"}},
        document,
    ]


def test_empty_turns_are_left_out_because_the_api_refuses_them() -> None:
    said = body(user("a"), {"role": "assistant", "content": ""}, user("b"))
    assert said["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": t} for t in ("a", "b")]}
    ]


@pytest.mark.parametrize("arguments", ['{"at": ', "[1]", '"x"'])
def test_arguments_that_are_no_object_are_refused_by_name(arguments: str) -> None:
    call = {**CALL, "function": {"name": "look", "arguments": arguments}}
    with pytest.raises(StreamError, match=r"'look' \(t1\)") as caught:
        body(user("x"), {"role": "assistant", "content": None, "tool_calls": [call]})
    assert (caught.value.kind, caught.value.retryable) == ("invalid_request", False)


def test_options_of_chat_completions_are_put_in_anthropic_s_words() -> None:
    schema = {"type": "object", "properties": {"at": {"type": "string"}}}
    function = {"name": "look", "description": "Looks.", "parameters": schema}
    own = {"type": "web_search_20250305", "name": "web_search"}
    said = body(
        user("x"),
        tools=[{"type": "function", "function": function}, own],
        tool_choice={"type": "function", "function": {"name": "look"}},
        stop="END",
        max_completion_tokens=5,
        temperature=0.5,
        top_k=None,
    )
    assert said["tools"] == [
        {"name": "look", "description": "Looks.", "input_schema": schema},
        own,
    ]
    assert said["tool_choice"] == {"type": "tool", "name": "look"}
    assert (said["stop_sequences"], said["max_tokens"], said["temperature"]) == (["END"], 5, 0.5)
    assert {"stop", "max_completion_tokens", "top_k"}.isdisjoint(said)
    for word, type_ in (("auto", "auto"), ("none", "none"), ("required", "any")):
        assert body(user("x"), tool_choice=word)["tool_choice"] == {"type": type_}
    assert body(user("x"), tool_choice={"type": "any"})["tool_choice"] == {"type": "any"}
    bare = {"type": "function", "function": {"name": "f"}}
    assert body(user("x"), tools=[bare])["tools"] == [
        {"name": "f", "input_schema": {"type": "object", "properties": {}}}
    ]


def test_the_longest_answer_leaves_room_for_the_thinking_that_was_asked_for() -> None:
    thinking = {"type": "enabled", "budget_tokens": 4000}
    assert body(user("x"), thinking=thinking)["max_tokens"] == 16384 + 4000
    assert body(user("x"), thinking=thinking, max_tokens=5000)["max_tokens"] == 5000
    backend = Anthropic("m", base_url="http://h", max_tokens=10, options={"top_k": 3})
    said = backend.request_body(Request((user("x"),), {}))
    assert (said["max_tokens"], said["top_k"]) == (10, 3)


def test_a_context_sends_back_what_the_answer_brought() -> None:
    native = {"anthropic": [{"type": "thinking", "thinking": "Hm", "signature": "s"}]}
    call = puck.ToolCall("t1", "look", '{"at": "sea"}')
    response = puck.Response("A.", "Hm", (call,), metadata={"native": native})
    context = puck.Context().user("x").reply(response).tool_result(call, "blue")
    messages = context.to_messages("Be brief.")
    assert messages[2]["native"] == native
    assert messages[2]["native"] is not native
    assert body(*messages)["messages"][1:] == [
        {"role": "assistant", "content": native["anthropic"]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "blue"}],
        },
    ]


# ----------------------------------------------------------------------- address, key and headers


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ("http://h:1", "http://h:1/v1/messages"),
        ("http://h:1/", "http://h:1/v1/messages"),
        ("http://h:1/v1", "http://h:1/v1/messages"),
        ("http://h:1/api/anthropic", "http://h:1/api/anthropic/v1/messages"),
        ("http://h:1/v1/?beta=true", "http://h:1/v1/messages?beta=true"),
    ],
)
def test_the_address_may_have_its_version_or_not(said: str, url: str) -> None:
    assert Anthropic("m", base_url=said).url() == url


def test_anthropic_s_own_address_demands_a_key_or_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "AUTH_TOKEN", "BASE_URL"):
        monkeypatch.delenv(f"ANTHROPIC_{name}", raising=False)
    with pytest.raises(MissingKey, match="ANTHROPIC_API_KEY"):
        Anthropic("m")
    assert Anthropic("m", base_url="http://h").api_key == ""
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token")
    assert Anthropic("m").credentials()["authorization"] == "Bearer token"
    assert "authorization" not in Anthropic("m", api_key="mine").credentials()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://env:1")
    backend = Anthropic("m")
    assert backend.credentials()["x-api-key"] == "key"
    assert backend.base_url == "http://env:1/v1"
    assert backend.credentials()["anthropic-version"] == "2023-06-01"


def test_neither_key_nor_token_is_printed() -> None:
    shown = repr(Anthropic("m", base_url="http://h", api_key="hidden1", auth_token="hidden2"))
    assert "hidden" not in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": "http://h/v1/messages"}, "leave /messages out"),
        ({"base_url": "h:80"}, "http or https URL"),
        ({"auth_token": "a b"}, "auth_token"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"api_key": "ü"}, "api_key"),
    ],
)
def test_an_impossible_option_is_named(options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"base_url": "http://h", **options}
    with pytest.raises(InvalidOption, match=message):
        Anthropic("m", **given)
