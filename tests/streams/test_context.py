from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from puckstream.errors import InvalidOption
from puckstream.streams.context import Context, check_prompt
from puckstream.streams.response import Response, ToolCall

IMAGE: dict[str, Any] = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TEXT: dict[str, Any] = {"type": "text", "text": "what is this?"}


def test_a_tool_s_result_answers_its_call_and_says_whether_it_failed() -> None:
    call = ToolCall("c1", "look", "{}")
    context = Context().assistant(None, [call]).tool_result(call, "fog")
    context = context.tool_result("c2", [{"type": "text", "text": "lost"}], is_error=True)
    assert context.to_messages()[1:] == (
        {"role": "tool", "tool_call_id": "c1", "content": "fog"},
        {
            "role": "tool",
            "tool_call_id": "c2",
            "content": [{"type": "text", "text": "lost"}],
            "is_error": True,
        },
    )
    with pytest.raises(InvalidOption, match="result=5"):
        context.tool_result(call, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_reply_keeps_what_the_provider_wants_back_and_a_copy_of_its_own() -> None:
    native = {"anthropic": [{"type": "thinking", "thinking": "Hm", "signature": "s"}]}
    response = Response("A.", "Hm", metadata={"native": native})
    empty = Context()
    context = empty.reply(response)
    native["anthropic"].clear()
    assert context[0]["native"]["anthropic"][0]["signature"] == "s"
    assert context[0]["content"] == "A."
    assert len(empty) == 0


def test_turns_are_kept_in_order() -> None:
    context = Context().system("be brief").user("hello").assistant("hi")
    assert [message["role"] for message in context] == ["system", "user", "assistant"]
    assert [message["content"] for message in context] == ["be brief", "hello", "hi"]
    assert len(context) == 3
    assert context[-1]["content"] == "hi"


def test_adding_a_turn_leaves_the_context_as_it_was() -> None:
    first = Context().user("one")
    second = first.user("two")
    third = first.append({"role": "tool", "tool_call_id": "c1", "content": "42"})
    assert (len(first), len(second), len(third)) == (1, 2, 2)
    assert third[1] == {"role": "tool", "tool_call_id": "c1", "content": "42"}


def test_append_takes_several_messages_or_none() -> None:
    context = Context().append({"role": "user", "content": "a"}, {"role": "user", "content": "b"})
    assert [message["content"] for message in context] == ["a", "b"]
    assert context.append() == context


def test_nothing_reaches_into_a_context() -> None:
    parts: list[dict[str, Any]] = [copy.deepcopy(TEXT), copy.deepcopy(IMAGE)]
    given: dict[str, Any] = {"role": "user", "content": parts}
    context = Context([given])
    given["role"] = "assistant"
    parts[0]["text"] = "changed"
    parts[1]["image_url"]["url"] = "changed"
    assert context[0] == {"role": "user", "content": [TEXT, IMAGE]}

    taken = context.to_messages()
    taken[0]["content"][1]["image_url"]["url"] = "changed"
    assert context[0] == {"role": "user", "content": [TEXT, IMAGE]}

    view: Any = context[0]
    with pytest.raises(TypeError):
        view["role"] = "system"
    anything: Any = context
    with pytest.raises(AttributeError, match="cannot be changed"):
        anything._messages = ()


def test_contexts_with_the_same_messages_are_equal() -> None:
    assert Context().user("a") == Context([{"role": "user", "content": "a"}])
    assert Context().user("a") != Context().user("b")
    assert Context() != ()


def test_a_context_is_made_from_another_ones_messages() -> None:
    context = Context().user("a").assistant("b")
    assert Context(context) == context
    assert Context(message for message in context) == context


def test_a_context_survives_pickle_and_copy() -> None:
    context = Context().user([TEXT, IMAGE]).assistant("a cat")
    assert pickle.loads(pickle.dumps(context)) == context
    assert copy.deepcopy(context) == context


def test_repr_shows_no_prompt() -> None:
    assert repr(Context().user("secret")) == "Context(1 messages)"


def test_messages_are_json_with_the_system_prompt_first() -> None:
    messages = Context().user("hello").to_messages("be brief")
    assert messages == (
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hello"},
    )
    assert json.loads(json.dumps(messages)) == list(messages)


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_system_prompt_adds_no_message(nothing: str | None) -> None:
    assert Context().user("x").to_messages(nothing) == ({"role": "user", "content": "x"},)


@pytest.mark.parametrize("role", ["system", "developer"])
def test_an_instruction_at_the_head_of_the_context_stands(role: str) -> None:
    context = Context([{"role": role, "content": "mine"}]).user("x")
    assert [m["content"] for m in context.to_messages("the client's")] == ["mine", "x"]


def test_an_instruction_later_in_the_context_does_not_replace_the_system_prompt() -> None:
    context = Context().user("x").system("now in French")
    roles = [message["role"] for message in context.to_messages("be brief")]
    assert roles == ["system", "user", "system"]


def test_tool_calls_take_the_providers_form() -> None:
    calls = (ToolCall("c1", "weather", '{"city":"Rome"}'),)
    message = Context().assistant(None, tool_calls=calls)[0]
    assert message == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
            }
        ],
    }


def test_a_reply_is_the_text_of_the_response() -> None:
    assert Context().reply(Response("hi"))[0] == {"role": "assistant", "content": "hi"}
    assert Context().reply(Response(""))[0]["content"] == ""


def test_a_structured_reply_becomes_json() -> None:
    message = Context().reply(Response({"name": "Zoë"}))[0]
    assert message["content"] == '{"name": "Zoë"}'


def test_a_reply_that_only_calls_tools_has_no_content() -> None:
    message = Context().reply(Response("", tool_calls=(ToolCall("c", "f"),)))[0]
    assert message["content"] is None
    assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": ""}


def test_a_prompt_is_text_or_a_copy_of_content_parts() -> None:
    assert check_prompt("") == ""
    parts = (TEXT, IMAGE)
    assert check_prompt(parts) == [TEXT, IMAGE]
    assert check_prompt(parts)[0] is not TEXT


@pytest.mark.parametrize("prompt", [None, 5, b"text", {"type": "text"}, [], object(), {"a"}])
def test_a_prompt_of_another_kind_is_refused_with_its_value(prompt: Any) -> None:
    with pytest.raises(InvalidOption) as refused:
        Context().user(prompt)
    assert refused.value.option == "prompt"
    assert refused.value.value == prompt


@pytest.mark.parametrize("part", ["text", None, {}, {"type": ""}, {"type": 3}, {"text": "x"}])
def test_a_malformed_content_part_is_named(part: Any) -> None:
    with pytest.raises(InvalidOption) as refused:
        Context().user([TEXT, part])
    assert refused.value.option == "prompt[1]"
    assert refused.value.value == part


@pytest.mark.parametrize(
    ("messages", "option"),
    [
        ("hello", "messages"),
        ({"role": "user"}, "messages"),
        (None, "messages"),
        (7, "messages"),
        (["hello"], "messages[0]"),
        ([{"role": "user"}, None], "messages[1]"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": ""}], "messages[0].role"),
        ([{"role": 3}], "messages[0].role"),
        ([{"role": "user", "content": 3}], "messages[0].content"),
        ([{"role": "user", "content": ["x"]}], "messages[0].content[0]"),
    ],
)
def test_malformed_messages_are_refused_by_name(messages: Any, option: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        Context(messages)
    assert refused.value.option == option


def test_a_refused_turn_leaves_the_context_as_it_was() -> None:
    context = Context().user("x")
    wrong: Any = {"role": None}
    with pytest.raises(InvalidOption):
        context.append({"role": "user", "content": "y"}, wrong)
    assert len(context) == 1


def test_the_assistants_text_is_checked_under_its_own_name() -> None:
    wrong: Any = 3
    with pytest.raises(InvalidOption) as refused:
        Context().assistant(wrong)
    assert refused.value.option == "text"
