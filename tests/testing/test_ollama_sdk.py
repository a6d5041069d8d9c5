"""Ollama's own SDK talks to the scripted model, streaming and not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import ollama
import pytest

from puckstream.testing.model_server import ModelServer
from puckstream.testing.script import Fault, Script, ToolCall

SCRIPT = Script(
    text="All is well. ",
    thinking="Is it? ",
    tool_calls=(ToolCall("look", '{"at": "the lamp"}'), ToolCall("see")),
)
ASK = [{"role": "user", "content": "How is it?"}]


@asynccontextmanager
async def sdk(*scripts: Script) -> AsyncGenerator[tuple[ollama.AsyncClient, ModelServer]]:
    async with (
        ModelServer(scripts or None) as server,
        ollama.AsyncClient(server.origin) as client,
    ):
        yield client, server


async def test_the_sdk_streams_thinking_text_whole_tool_calls_and_counts() -> None:
    text, thinking, calls, last = "", "", list[tuple[str, Any]](), None
    async with sdk(SCRIPT) as (client, _):
        async for part in await client.chat("any", ASK, stream=True, think=True):
            text += part.message.content or ""
            thinking += part.message.thinking or ""
            for call in part.message.tool_calls or ():
                calls.append((call.function.name, call.function.arguments))
            last = part
    assert (text, thinking) == ("All is well. ", "Is it? ")
    assert calls == [("look", {"at": "the lamp"}), ("see", {})]
    assert last is not None
    assert (last.done, last.done_reason) == (True, "stop")
    assert (last.prompt_eval_count, last.eval_count) == (3, 11)


async def test_the_sdk_reads_a_whole_answer() -> None:
    async with sdk(SCRIPT) as (client, _):
        whole = await client.chat("any", ASK)
    assert (whole.message.content, whole.message.thinking) == ("All is well. ", "Is it? ")
    calls = whole.message.tool_calls or ()
    assert [call.function.name for call in calls] == ["look", "see"]
    assert (whole.done, whole.eval_count) == (True, 11)


async def test_the_sdk_lists_the_scripts_as_models() -> None:
    async with sdk() as (client, _):
        assert "story" in [model.model for model in (await client.list()).models]


@pytest.mark.parametrize(("model", "status"), [("rate-limited", 429), ("broken", 500)])
async def test_the_sdk_understands_the_refusals(model: str, status: int) -> None:
    async with sdk() as (client, _):
        with pytest.raises(ollama.ResponseError) as caught:
            await client.chat(model, ASK)
    assert caught.value.status_code == status
    assert caught.value.error != ""


async def test_the_sdk_understands_an_error_in_the_middle() -> None:
    script = Script(text="a b c", fault=Fault("error", after=2, message="The oil ran out."))
    got: list[str | None] = []

    async def read() -> None:
        async for part in await client.chat("any", ASK, stream=True):
            got.append(part.message.content)  # noqa: PERF401  what came before the error counts

    async with sdk(script) as (client, _):
        with pytest.raises(ollama.ResponseError, match="The oil ran out"):
            await read()
    assert got == ["a ", "b "]


async def test_the_sdk_s_close_is_seen_with_the_token_it_had_reached() -> None:
    script = Script(text="a b c", fault=Fault("stall", after=2))
    async with sdk(script) as (client, server):
        parts: Any = await client.chat("any", ASK, stream=True)
        for _ in range(2):
            await anext(parts)
        await parts.aclose()
        record = await server.wait_closed("req-1")
    assert (record.ended, record.tokens_sent, record.dialect) == ("client_closed", 2, "ollama")
