"""Anthropic's own SDK talks to the scripted model, streaming and not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import pytest

from puckstream.testing.messages_dialect import signature_of
from puckstream.testing.model_server import ModelServer
from puckstream.testing.script import Fault, Script, ToolCall

SCRIPT = Script(
    text="All is well. ",
    thinking="Is it? ",
    tool_calls=(ToolCall("look", '{"at": "the lamp"}', "call_7"), ToolCall("see")),
)
ASK: list[Any] = [{"role": "user", "content": "How is it?"}]


@asynccontextmanager
async def sdk(*scripts: Script) -> AsyncGenerator[tuple[anthropic.AsyncAnthropic, ModelServer]]:
    async with (
        ModelServer(scripts or None) as server,
        anthropic.AsyncAnthropic(base_url=server.origin, api_key="none", max_retries=0) as client,
    ):
        yield client, server


def user(*blocks: Any) -> list[Any]:
    return [{"role": "user", "content": list(blocks)}]


def check(message: Any) -> None:
    """Check the whole answer, which is the same however it came."""
    assert (message.id, message.stop_reason) == ("msg_req-1", "tool_use")
    thinking, text, look, see = message.content
    assert thinking.type == "thinking"
    assert (thinking.thinking, thinking.signature) == ("Is it? ", signature_of("Is it? "))
    assert text.type == "text"
    assert text.text == "All is well. "
    assert look.type == see.type == "tool_use"
    assert (look.id, look.name, look.input) == ("call_7", "look", {"at": "the lamp"})
    assert see.input == {}
    assert (message.usage.input_tokens, message.usage.output_tokens) == (3, 11)


async def test_the_sdk_puts_the_stream_together() -> None:
    async with (
        sdk(SCRIPT) as (client, _),
        client.messages.stream(model="any", max_tokens=99, messages=ASK) as stream,
    ):
        deltas = [text async for text in stream.text_stream]
        check(await stream.get_final_message())
    assert deltas == ["All ", "is ", "well. "]


async def test_the_sdk_reads_a_whole_answer() -> None:
    async with sdk(SCRIPT) as (client, _):
        check(await client.messages.create(model="any", max_tokens=99, messages=ASK))


async def test_the_conversation_goes_on_with_signed_thinking_and_results() -> None:
    async with sdk(SCRIPT, Script(echo=True), SCRIPT, SCRIPT) as (client, _):
        first = await client.messages.create(model="any", max_tokens=99, messages=ASK)
        result: Any = {"type": "tool_result", "tool_use_id": "call_7", "content": "fog"}
        now: Any = {"type": "text", "text": "And now?"}
        turns: list[Any] = [*ASK, {"role": "assistant", "content": first.content}]
        second = await client.messages.create(
            model="any",
            max_tokens=99,
            system="Be brief.",
            messages=[*turns, *user(result, now)],
        )
        assert second.content[0].type == "text"
        assert second.content[0].text == "And now?"
        first.content[0].signature = "forged"  # type: ignore[union-attr]
        with pytest.raises(anthropic.BadRequestError, match="Invalid `signature`"):
            await client.messages.create(model="any", max_tokens=99, messages=turns)
        with pytest.raises(anthropic.BadRequestError, match="unexpected `tool_use_id`"):
            await client.messages.create(model="any", max_tokens=99, messages=user(result))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (Script(text="a", finish_reason="length"), "max_tokens"),
        (Script(refusal="No."), "refusal"),
        (Script(text="a"), "end_turn"),
    ],
)
async def test_the_reason_to_stop_is_one_of_anthropic_s(script: Script, reason: str) -> None:
    async with sdk(script) as (client, _):
        message = await client.messages.create(model="any", max_tokens=9, messages=ASK)
    assert message.stop_reason == reason


async def test_the_sdk_lists_the_scripts_as_models() -> None:
    async with sdk() as (client, _):
        assert "story" in [model.id async for model in client.models.list()]


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("rate-limited", anthropic.RateLimitError),
        ("broken", anthropic.InternalServerError),
        ("unauthorized", anthropic.AuthenticationError),
    ],
)
async def test_the_sdk_understands_the_refusals(
    model: str, error: type[anthropic.APIStatusError]
) -> None:
    async with sdk() as (client, _):
        with pytest.raises(error):
            await client.messages.create(model=model, max_tokens=9, messages=ASK)


async def test_the_sdk_understands_an_error_in_the_middle() -> None:
    script = Script(text="a b c", fault=Fault("error", after=2, message="The oil ran out."))
    got: list[str] = []

    async def read() -> None:
        async with client.messages.stream(model="any", max_tokens=9, messages=ASK) as stream:
            async for text in stream.text_stream:
                got.append(text)  # noqa: PERF401  what came before the error counts

    async with sdk(script) as (client, _):
        with pytest.raises(anthropic.APIError, match="The oil ran out"):
            await read()
    assert got == ["a ", "b "]


async def test_the_sdk_s_close_is_seen_with_the_token_it_had_reached() -> None:
    script = Script(text="a b c", fault=Fault("stall", after=2))
    async with sdk(script) as (client, server):
        async with client.messages.stream(model="any", max_tokens=9, messages=ASK) as stream:
            texts = stream.text_stream
            assert [await anext(texts), await anext(texts)] == ["a ", "b "]
        record = await server.wait_closed("req-1")
        await texts.aclose()  # type: ignore[attr-defined]
    assert (record.ended, record.tokens_sent, record.dialect) == ("client_closed", 2, "anthropic")
