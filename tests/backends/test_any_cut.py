"""However the bytes of an answer are cut, the chunks are the same; so is the error."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from puckstream.backends.anthropic import Anthropic
from puckstream.backends.base import Chunk
from puckstream.backends.decoder import Decoder
from puckstream.backends.ollama import Ollama
from puckstream.backends.openai import OpenAI
from puckstream.backends.openai_responses import OpenAIResponses
from puckstream.errors import StreamError
from puckstream.testing.chat_dialect import ChatDialect
from puckstream.testing.dialect import Asked, Dialect
from puckstream.testing.messages_dialect import MessagesDialect
from puckstream.testing.ollama_dialect import OllamaDialect
from puckstream.testing.responses_dialect import ResponsesDialect
from puckstream.testing.script import Fault, Script, ToolCall

ASKED = Asked(model="m", stream=True, include_usage=True, said="x", words=1)
SCRIPT = Script(
    thinking="<Hm – “é”>\n灯? ",
    text="Grüße, 世界 🏮. \r\n\u2028Done. ",
    refusal="Nein. ",
    tool_calls=(ToolCall("look", '{"at": "the lámp\\n"}'), ToolCall("see")),
)

Make = Callable[[], Decoder]
ALL: dict[str, tuple[Make, Dialect]] = {
    "openai": (OpenAI("m", base_url="http://h/v1").decoder, ChatDialect()),
    "think-tags": (OpenAI("m", base_url="http://h/v1", think_tags=True).decoder, ChatDialect()),
    "openai-responses": (
        OpenAIResponses("m", base_url="http://h/v1").decoder,
        ResponsesDialect(),
    ),
    "anthropic": (Anthropic("m", base_url="http://h").decoder, MessagesDialect()),
    "ollama": (Ollama("m", base_url="http://h").decoder, OllamaDialect()),
}
every = pytest.mark.parametrize("name", ALL)


def body(dialect: Dialect, fault: Fault | None = None, script: Script = SCRIPT) -> bytes:
    """Return an answer, with a fault in the middle or without."""
    reply, pieces = dialect.reply(ASKED, script, "1", 0), script.pieces()
    said = [reply.opening(), *map(reply.piece, pieces[:7])]
    if fault is not None:
        said.append(reply.fault(fault))
    return b"".join([*said, *map(reply.piece, pieces[7:]), *reply.ending(pieces)])


def told(decoder: Decoder, parts: list[bytes]) -> list[Any]:
    """Return the chunks, and the error if there is one."""
    got: list[Any] = []
    try:
        for part in parts:
            for chunk in decoder.feed(part):
                got.append(plain(chunk))  # noqa: PERF401  what came before an error counts
            if decoder.done:
                break
        for chunk in decoder.end():
            got.append(plain(chunk))  # noqa: PERF401
    except StreamError as error:
        got.append(repr(error))
    return got


def plain(chunk: Chunk) -> tuple[str, Any, dict[str, Any]]:
    return chunk.type, chunk.content, dict(chunk.metadata)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % len(data) for place in places})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


FAULTS = (None, Fault("error", message="Öl!"), Fault("malformed", message="no more of this: ñ"))
ENDS = (b"\n", b"\r\n", b"\r")


@every
@settings(max_examples=30)
@given(
    places=st.lists(st.integers(0, 10_000), max_size=40),
    end=st.sampled_from(ENDS),
    fault=st.sampled_from(FAULTS),
    stop=st.one_of(st.none(), st.integers(1, 5_000)),
)
def test_any_cut_gives_the_same_chunks(
    name: str, places: list[int], end: bytes, fault: Fault | None, stop: int | None
) -> None:
    """With every end of line, with faults in the stream, and with answers that just stop."""
    make, dialect = ALL[name]
    whole = body(dialect, fault).replace(b"\n", end)
    if stop is not None:
        whole = whole[: stop % len(whole) or 1]
    assert told(make(), cut(whole, places)) == told(make(), [whole])


@every
@pytest.mark.parametrize("end", ENDS)
def test_byte_by_byte_is_as_good_as_at_once(name: str, end: bytes) -> None:
    make, dialect = ALL[name]
    whole = b"\xef\xbb\xbf" + body(dialect).replace(b"\n", end)
    at_once = told(make(), [whole])
    assert told(make(), [whole[n : n + 1] for n in range(len(whole))]) == at_once
    assert at_once[-1][0] == "finish"
    text = "".join(chunk[1] for chunk in at_once if chunk[0] in ("content", "refusal"))
    assert text == SCRIPT.text + SCRIPT.refusal
    thinking = "".join(chunk[1] for chunk in at_once if chunk[0] == "thinking")
    assert thinking == SCRIPT.thinking


@every
def test_an_answer_is_whole_or_an_error_wherever_it_stops(name: str) -> None:
    make, dialect = ALL[name]
    whole = body(dialect)
    *everything, _ = told(make(), [whole])
    for stop in range(len(whole)):
        *before, last = told(make(), [whole[:stop]])
        if last[0] == "finish":
            assert before == everything
        else:
            assert last.startswith("StreamError(kind='connection'"), last
            assert "retryable=True" in last
            assert not [chunk for chunk in before if chunk[0] == "finish"]


@every
@settings(max_examples=30)
@given(junk=st.binary(max_size=200), place=st.integers(0, 10_000))
def test_junk_in_an_answer_is_skipped_or_an_error_and_nothing_else(
    name: str, junk: bytes, place: int
) -> None:
    make, dialect = ALL[name]
    whole = body(dialect)
    place %= len(whole)
    told(make(), [whole[:place] + junk + whole[place:]])
    told(make(), [junk])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    *("type", "delta", "message", "content", "choices", "error", "index", "item"),
                    *("text", "thinking", "tool_calls", "function", "arguments", "usage", "done"),
                    *("content_block", "input", "response", "output_index", "partial_json"),
                )
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
TYPES = st.sampled_from(
    (
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "error", "response.created", "response.output_item.added"),
        *("response.output_item.done", "response.function_call_arguments.done"),
        *("response.output_text.delta", "response.completed", "response.failed", "nobody.knows"),
    )
)


@every
@settings(max_examples=30)
@given(said=st.lists(st.tuples(TYPES, st.dictionaries(st.text(max_size=3), VALUES)), max_size=4))
def test_any_json_is_chunks_or_an_error_and_nothing_else(
    name: str, said: list[tuple[str, dict[str, Any]]]
) -> None:
    make, _ = ALL[name]
    for framing in ("data: %s\n\n", "%s\n"):
        lines = [framing % json.dumps({"type": type_, **fields}) for type_, fields in said]
        told(make(), ["".join(lines).encode()])


@every
@settings(max_examples=30)
@given(said=st.lists(VALUES, max_size=4))
def test_any_value_is_chunks_or_an_error_and_nothing_else(name: str, said: list[Any]) -> None:
    make, _ = ALL[name]
    for framing in ("data: %s\n\n", "%s\n"):
        told(make(), ["".join(framing % json.dumps(value) for value in said).encode()])
