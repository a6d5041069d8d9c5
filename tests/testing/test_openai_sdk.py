"""OpenAI's own SDK talks to the scripted model, streaming and not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import openai
import pytest

from puckstream.testing.model_server import ModelServer
from puckstream.testing.script import Fault, Script, ToolCall

SCRIPT = Script(
    text="All is well. ",
    thinking="Is it? ",
    tool_calls=(ToolCall("look", '{"at": "the lamp"}', "call_7"),),
)


@asynccontextmanager
async def sdk(*scripts: Script) -> AsyncGenerator[tuple[openai.AsyncOpenAI, ModelServer]]:
    async with (
        ModelServer(scripts or None) as server,
        openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0) as client,
    ):
        yield client, server


async def test_the_sdk_streams_text_thinking_tool_calls_and_usage() -> None:
    text, thinking, arguments, usage, reasons, names = "", "", "", None, [], []
    async with sdk(SCRIPT) as (client, _):
        stream = await client.chat.completions.create(
            model="any",
            messages=[{"role": "user", "content": "How is it?"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                thinking += (choice.delta.model_extra or {}).get("reasoning_content") or ""
                reasons += [choice.finish_reason] if choice.finish_reason else []
                for call in choice.delta.tool_calls or ():
                    assert call.function is not None
                    names += [(call.id, call.function.name)] if call.id else []
                    arguments += call.function.arguments or ""
    assert (text, thinking) == ("All is well. ", "Is it? ")
    assert (names, arguments) == ([("call_7", "look")], '{"at": "the lamp"}')
    assert reasons == ["tool_calls"]
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (3, 9)


async def test_the_sdk_reads_a_whole_answer() -> None:
    async with sdk(SCRIPT) as (client, _):
        whole = await client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "How is it?"}]
        )
    message = whole.choices[0].message
    assert message.content == "All is well. "
    assert (message.model_extra or {})["reasoning_content"] == "Is it? "
    assert message.tool_calls is not None
    call = message.tool_calls[0]
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("look", '{"at": "the lamp"}')
    assert whole.usage is not None
    assert whole.usage.completion_tokens_details is not None
    assert whole.usage.completion_tokens_details.reasoning_tokens == 2


async def test_the_sdk_lists_the_scripts_as_models() -> None:
    async with sdk() as (client, _):
        assert "story" in [model.id async for model in client.models.list()]


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("rate-limited", openai.RateLimitError),
        ("broken", openai.InternalServerError),
        ("unauthorized", openai.AuthenticationError),
    ],
)
async def test_the_sdk_understands_the_refusals(
    model: str, error: type[openai.APIStatusError]
) -> None:
    async with sdk() as (client, _):
        with pytest.raises(error) as caught:
            await client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "x"}]
            )
    if model == "rate-limited":
        assert caught.value.response.headers["retry-after"] == "1"


async def test_the_sdk_understands_an_error_in_the_middle() -> None:
    script = Script(text="a b c", fault=Fault("error", after=2, message="The oil ran out."))
    got: list[str | None] = []

    async def read() -> None:
        nonlocal got
        stream = await client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "x"}], stream=True
        )
        async for chunk in stream:
            got += [chunk.choices[0].delta.content]

    async with sdk(script) as (client, _):
        with pytest.raises(openai.APIError, match="The oil ran out"):
            await read()
    assert got == ["", "a ", "b "]


async def test_the_sdk_s_close_is_seen_with_the_token_it_had_reached() -> None:
    script = Script(text="a b c", fault=Fault("stall", after=2))
    async with sdk(script) as (client, server):
        stream = await client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "x"}], stream=True
        )
        for _ in range(3):
            await anext(stream)
        await stream.close()
        record = await server.wait_closed("req-1")
    assert (record.ended, record.tokens_sent) == ("client_closed", 2)
