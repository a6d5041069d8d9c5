from __future__ import annotations

import dataclasses
import json
import pickle
from typing import Any

import pytest
from hypothesis import given, strategies as st

from puckstream.backends.base import Chunk, Usage
from puckstream.errors import StreamError
from puckstream.streams.response import Response, ResponseBuilder, ToolCall


def built(*chunks: Chunk, input_chars: int | None = None) -> ResponseBuilder:
    builder = ResponseBuilder(input_chars=input_chars)
    for chunk in chunks:
        builder.add(chunk)
    return builder


def text(*deltas: str) -> list[Chunk]:
    return [Chunk("content", delta) for delta in deltas]


def tool(content: Any = "", **metadata: Any) -> Chunk:
    return Chunk("tool_use", content, metadata)


# ---------------------------------------------------------------------------------- content


def test_text_deltas_are_joined_and_readable_at_any_time() -> None:
    builder = ResponseBuilder()
    assert builder.content == ""
    seen: list[str] = []
    for chunk in text("Hel", "lo", "", " you"):
        builder.add(chunk)
        seen.append(builder.content)
    assert seen == ["Hel", "Hello", "Hello", "Hello you"]
    assert builder.build().content == "Hello you"


def test_a_delta_equal_to_the_text_so_far_is_no_duplicate() -> None:
    assert built(*text("ha", "ha", "haha")).content == "hahahaha"


@given(st.lists(st.text(max_size=5)), st.sets(st.integers(0, 30)))
def test_reading_in_between_changes_nothing(deltas: list[str], reads: set[int]) -> None:
    builder = ResponseBuilder()
    for index, delta in enumerate(deltas):
        builder.add(Chunk("content", delta))
        if index in reads:
            assert builder.content == "".join(deltas[: index + 1])
    assert builder.build().content == "".join(deltas)


def test_the_last_structured_partial_wins() -> None:
    builder = built(Chunk("content", {"a": 1}), Chunk("content", {"a": 1, "b": [2]}))
    assert builder.content == {"a": 1, "b": [2]}


@pytest.mark.parametrize("empty", [{}, [], 0, False])
def test_an_empty_structure_is_structure(empty: Any) -> None:
    assert built(Chunk("content", {"a": 1}), Chunk("content", empty)).content == empty


def test_text_after_structure_breaks_the_protocol_and_changes_nothing() -> None:
    builder = built(Chunk("content", {"a": 1}))
    with pytest.raises(StreamError, match="text cannot follow structured content") as broken:
        builder.add(Chunk("content", "x", {"usage": Usage(1, 1), "model": "m"}))
    assert broken.value.kind == "protocol"
    assert not broken.value.retryable
    assert builder.content == {"a": 1}
    assert builder.model is None


def test_structure_after_text_breaks_the_protocol_and_changes_nothing() -> None:
    builder = built(*text("x"))
    with pytest.raises(StreamError, match="structured content cannot follow text") as broken:
        builder.add(Chunk("content", ["a"]))
    assert "list" in broken.value.message
    assert builder.content == "x"


def test_empty_text_and_none_are_neither_text_nor_structure() -> None:
    builder = built(*text(""), Chunk("content", None), Chunk("content", [1]), *text(""))
    assert builder.content == [1]


def test_thinking_is_apart_from_the_content() -> None:
    builder = built(Chunk("thinking", "hm"), *text("yes"), Chunk("thinking", "m"))
    assert (builder.thinking, builder.content) == ("hmm", "yes")
    assert built(Chunk("thinking", None)).thinking == ""
    with pytest.raises(StreamError, match="thinking chunk must hold text"):
        builder.add(Chunk("thinking", {"a": 1}))
    assert builder.thinking == "hmm"


def test_other_chunks_do_not_touch_the_content() -> None:
    wrong: Any = None
    builder = built(Chunk("citation", {"url": "x"}), *text("a"), Chunk(wrong, 5), Chunk("", "b"))
    assert builder.content == "a"


def test_content_as_text_is_itself_or_json() -> None:
    assert Response("x").text == "x"
    assert Response({"ä": (1, None)}).text == '{"ä": [1, null]}'


# --------------------------------------------------------------------------------- tool calls


def test_tool_calls_are_assembled_by_index() -> None:
    builder = built(
        tool('{"ci', index=0, id="c0", name="weather"),
        tool('{"q"', index=1, id="c1", name="search"),
        tool('ty":"Rome"}', index=0),
        tool(':"x"}', index=1),
    )
    assert builder.tool_calls == (
        ToolCall("c0", "weather", '{"city":"Rome"}'),
        ToolCall("c1", "search", '{"q":"x"}'),
    )
    assert [call.parsed for call in builder.tool_calls] == [{"city": "Rome"}, {"q": "x"}]


def test_tool_calls_are_ordered_by_index_whatever_came_first() -> None:
    builder = built(tool(index=2, id="b"), tool(index=0, id="a"), tool("x", index=2))
    assert [call.id for call in builder.tool_calls] == ["a", "b"]


def test_the_arguments_delta_of_the_metadata_counts_once() -> None:
    builder = built(tool("{", index=0, id="c", name="f", arguments="{"), tool("}", arguments="}"))
    assert builder.tool_calls == (ToolCall("c", "f", "{}"),)


def test_a_new_id_under_an_old_index_is_a_new_call() -> None:
    builder = built(
        tool("{}", index=0, id="a", name="f"),
        tool("{", index=0, id="b", name="g"),
        tool("}", index=0),
    )
    assert builder.tool_calls == (ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}"))


def test_an_id_repeated_with_each_delta_is_the_same_call() -> None:
    builder = built(tool("{", index=0, id="a", name="f"), tool("}", index=0, id="a", name="f"))
    assert builder.tool_calls == (ToolCall("a", "f", "{}"),)


def test_without_index_the_id_decides_and_without_both_the_last_call() -> None:
    builder = built(
        tool("{", id="a", name="f"),
        tool("[", id="b", name="g"),
        tool("}", id="a"),
        tool("]"),
    )
    assert builder.tool_calls == (ToolCall("a", "f", "{}"), ToolCall("b", "g", "[]"))
    assert built(tool("x")).tool_calls == (ToolCall("", "", "x"),)


def test_arguments_that_come_decoded_are_written_as_json() -> None:
    builder = built(tool(None, id="a", name="f", arguments={"n": 1}))
    assert builder.tool_calls[0].arguments == '{"n": 1}'
    assert built(tool(None, id="a")).tool_calls == (ToolCall("a", "", ""),)


def test_arguments_that_cannot_be_joined_break_the_protocol_and_change_nothing() -> None:
    builder = ResponseBuilder()
    with pytest.raises(StreamError, match="arguments of a tool call must be text"):
        builder.add(tool(5, id="a"))
    assert builder.tool_calls == ()


def test_a_call_without_arguments_parses_to_an_empty_dict() -> None:
    assert ToolCall("a", "f").parsed == {}
    assert ToolCall("a", "f", " \n").parsed == {}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [('{"a": ', "are not JSON"), ("[1]", "are not a JSON object"), ("[" * 10**5, "not JSON")],
)
def test_arguments_that_are_no_json_object_raise_a_clear_error(
    arguments: str, problem: str
) -> None:
    with pytest.raises(StreamError, match=problem) as error:
        _ = ToolCall("call_7", "weather", arguments).parsed
    assert error.value.kind == "parse"
    assert "'weather' (call_7)" in error.value.message
    assert len(error.value.message) < 300


# ------------------------------------------------------------------------------ finish, usage


def test_the_finish_chunk_gives_reason_usage_and_metadata() -> None:
    finish = Chunk(
        "finish",
        "",
        {
            "finish_reason": "stop",
            "usage": Usage(3, 5, 1),
            "model": "m-1",
            "response_id": "r",
            "service_tier": "flex",
            "fingerprint": None,
        },
    )
    response = built(*text("hi"), finish).build()
    assert response == Response(
        content="hi",
        finish_reason="stop",
        usage=Usage(3, 5, 1),
        metadata={"model": "m-1", "response_id": "r", "service_tier": "flex"},
    )


def test_usage_model_and_reason_are_taken_from_any_chunk() -> None:
    builder = built(
        Chunk("content", "a", {"model": "m", "usage": Usage(3, 1), "logprobs": [1]}),
        Chunk("custom", None, {"finish_reason": "length"}),
    )
    assert (builder.model, builder.usage, builder.finish_reason) == ("m", Usage(3, 1), "length")
    assert builder.build().metadata == {"model": "m"}


def test_later_usage_completes_and_replaces_earlier_usage() -> None:
    builder = built(
        Chunk("start", "", {"usage": Usage(input=10, output=1)}),
        Chunk("finish", "", {"usage": Usage(output=20, thinking=4)}),
    )
    assert builder.usage == Usage(10, 20, 4)


@pytest.mark.parametrize(
    "said",
    [
        {"input": 3, "output": 5},
        {"input_tokens": 3, "output_tokens": 5, "cache": None},
        {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    ],
)
def test_usage_is_understood_in_the_providers_own_spellings(said: dict[str, Any]) -> None:
    assert built(Chunk("finish", "", {"usage": said})).usage == Usage(3, 5)


@pytest.mark.parametrize("said", [None, "many", {}, {"total": 3}, {"input": "3"}, 7])
def test_usage_that_says_nothing_is_estimated(said: Any) -> None:
    assert built(*text("12345"), Chunk("finish", "", {"usage": said})).usage == Usage(
        None, 2, 0, estimated=True
    )


def test_the_estimate_is_a_token_for_four_characters_begun() -> None:
    builder = built(
        Chunk("thinking", "x" * 5), *text("y" * 8), tool("z" * 3, id="c"), input_chars=9
    )
    assert builder.usage == Usage(input=3, output=4, thinking=2, estimated=True)
    assert ResponseBuilder(input_chars=0).usage == Usage(0, 0, 0, estimated=True)


def test_structured_content_is_estimated_by_its_last_partial() -> None:
    big, small = {"a": "x" * 100}, {"a": "xx"}
    builder = built(Chunk("content", big), Chunk("content", small))
    assert builder.usage.output == -(-len(json.dumps(small)) // 4)


def test_what_the_provider_left_out_is_estimated_and_the_rest_stands() -> None:
    builder = built(
        *text("12345678"), Chunk("start", "", {"usage": Usage(input=77)}), input_chars=4
    )
    assert builder.usage == Usage(77, 2, 0, estimated=True)
    builder.add(Chunk("finish", "", {"usage": Usage(output=9)}))
    assert builder.usage == Usage(77, 9, None, estimated=False)


def test_an_object_that_cannot_be_written_does_not_keep_the_usage_from_being_told() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    assert built(Chunk("content", cycle)).usage == Usage(None, 0, 0, estimated=True)


def test_reset_forgets_everything_but_the_request() -> None:
    builder = built(
        *text("a"),
        Chunk("thinking", "b"),
        tool("{", index=0, id="c"),
        Chunk("finish", "", {"finish_reason": "stop", "usage": Usage(1, 2), "model": "m"}),
        input_chars=8,
    )
    builder.reset()
    assert builder.build() == ResponseBuilder(input_chars=8).build()
    assert builder.usage == Usage(2, 0, 0, estimated=True)
    builder.add(Chunk("content", {"structure": "now"}))
    assert builder.content == {"structure": "now"}


def test_a_built_response_is_not_touched_by_later_chunks() -> None:
    builder = built(*text("a"), tool("{", index=0, id="c"))
    response = builder.build()
    builder.add(Chunk("finish", "", {"finish_reason": "stop", "model": "m"}))
    builder.add(tool("}", index=0))
    builder.add(Chunk("content", "b"))
    assert response == Response(
        "a", tool_calls=(ToolCall("c", "", "{"),), usage=Usage(None, 1, 0, estimated=True)
    )


def test_a_response_is_frozen_picklable_and_json() -> None:
    response = Response(
        {"a": 1}, "hm", (ToolCall("c", "f", "{}"),), "stop", Usage(1, 2), {"model": "m"}
    )
    anything: Any = response
    with pytest.raises(dataclasses.FrozenInstanceError):
        anything.content = "x"
    assert pickle.loads(pickle.dumps(response)) == response
    assert json.loads(json.dumps(response.to_dict())) == {
        "content": {"a": 1},
        "thinking": "hm",
        "tool_calls": [{"id": "c", "name": "f", "arguments": "{}"}],
        "finish_reason": "stop",
        "usage": {"input": 1, "output": 2, "thinking": None, "estimated": False},
        "metadata": {"model": "m"},
    }


def test_a_chunk_costs_the_same_however_much_text_came_before() -> None:
    """Joining at each chunk would copy 20,000 × 100 KB; here nothing is copied before the end."""
    builder = ResponseBuilder()
    for _ in range(20_000):
        builder.add(Chunk("content", "hello"))
    assert len(builder._text) == 20_000
    assert len(builder.content) == 100_000
    assert len(builder._text) == 1
