"""What holds for every provider, against the scripted model on a real socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import puckstream as puck
from puckstream.backends.base import Resources
from puckstream.testing.builtin_scripts import BUILTIN_SCRIPTS
from puckstream.testing.model_server import ModelServer
from puckstream.testing.script import Fault, Script, ToolCall

PROVIDERS = ("openai", "openai-responses", "anthropic", "ollama")
every = pytest.mark.parametrize("provider", PROVIDERS)

WHERE = puck.ToolCall("call_7", "look", '{"at": "the lamp"}')
LOOKS = Script(
    text="I will look. ",
    thinking="Where is it? Up there. ",
    tool_calls=(ToolCall(WHERE.name, WHERE.arguments, WHERE.id), ToolCall("see", "{}", "call_8")),
)


def client(server: ModelServer, provider: str, model: str = "any", **options: Any) -> puck.Client:
    url = server.url if provider.startswith("openai") else server.origin
    return puck.Client(f"{provider}:{model}", base_url=url, api_key="sk-test", **options)


async def done(node: puck.Node, *args: Any, **options: Any) -> puck.DoneEvent:
    stream = await node.start_stream(*args, **options)
    async with stream.subscribe() as events:
        *_, last = [event async for event in events]
    assert isinstance(last, puck.DoneEvent), last
    return last


@every
async def test_an_answer_is_the_same_response_whoever_gives_it(provider: str) -> None:
    async with ModelServer(LOOKS) as server, puck.Node() as node:
        response = (await done(node, client(server, provider), "How is it?")).response
    assert (response.content, response.thinking) == (LOOKS.text, LOOKS.thinking)
    look, see = response.tool_calls
    assert (look.name, look.parsed, see.name, see.parsed) == (
        "look",
        {"at": "the lamp"},
        "see",
        {},
    )
    assert provider == "ollama" or look.id == "call_7"
    assert response.finish_reason == "tool_calls"
    assert (response.usage.input, response.usage.output) == (3, 14)
    assert response.usage.thinking == (None if provider == "ollama" else 5)
    assert not response.usage.estimated
    assert response.metadata["model"] == "any"


@every
async def test_a_conversation_goes_on_with_thinking_calls_and_results(provider: str) -> None:
    """The scripted model refuses unsigned thinking and results that answer no call."""
    async with ModelServer([LOOKS, Script(echo=True)]) as server, puck.Node() as node:
        chat = client(server, provider, system_prompt="Be brief.")
        first = await done(node, chat, "How is it?")
        context = first.context
        for call in first.response.tool_calls:
            context = context.tool_result(call, "fog")
        second = await done(node, chat, "And now?", context)
        assert second.response.content == "And now?"
        assert [message["role"] for message in second.context] == [
            *("user", "assistant", "tool", "tool", "user", "assistant")
        ]


@every
@pytest.mark.parametrize("other", PROVIDERS)
async def test_a_conversation_can_go_on_with_another_provider(provider: str, other: str) -> None:
    async with ModelServer([LOOKS, Script(echo=True)]) as server, puck.Node() as node:
        first = await done(node, client(server, provider), "How is it?")
        context = first.context
        for call in first.response.tool_calls:
            context = context.tool_result(call, "fog")
        second = await done(node, client(server, other), "And now?", context)
        assert second.response.content == "And now?"


@every
@pytest.mark.parametrize(
    ("model", "kind", "status", "retryable", "message"),
    [
        ("rate-limited", "rate_limit", 429, True, "Rate limit reached: one harbour"),
        ("overloaded", "overloaded", 503, True, "All lamps are lit"),
        ("broken", "server", 500, True, "The lamp went out"),
        ("unauthorized", "auth", 401, False, "Incorrect API key"),
        ("cut-before-head", "connection", None, True, "cut the connection"),
        ("cut", "connection", None, True, "cut the connection"),
        ("error-after-200", "overloaded", None, True, "The oil ran out"),
        ("malformed", "parse", None, False, "cannot read a chunk"),
    ],
)
async def test_a_fault_is_told_as_what_it_is(
    provider: str, model: str, kind: str, status: int | None, retryable: bool, message: str
) -> None:
    script = BUILTIN_SCRIPTS[model]
    fault = script.fault
    assert fault is not None
    if provider == "ollama" and model == "error-after-200":
        kind = "server"  # its errors are text, and have no kind
    async with ModelServer({model: Script(text=script.text, fault=fault)}) as server:
        async with puck.Node() as node:
            stream = await node.start_stream(client(server, provider, model), "Hi")
            async with stream.subscribe() as events:
                told = [event async for event in events]
        await server.wait_connections(0)
    last = told[-1]
    assert isinstance(last, puck.ErrorEvent), last
    error = last.reason
    assert (error.kind, error.status, error.retryable) == (kind, status, retryable)
    assert (error.retry_after, error.provider) == (fault.retry_after, provider)
    assert message in error.message
    texts = [event for event in told if event.kind == "content"]
    assert len(texts) == (0 if fault.before_head else fault.after)


@every
async def test_a_cancel_of_a_silent_model_closes_its_connection(provider: str) -> None:
    script = Script(text="a b c", fault=Fault("stall", after=2))
    async with ModelServer(script) as server, puck.Node() as node:
        stream = await node.start_stream(client(server, provider), "Hi")
        await server.wait_record(lambda record: record.tokens_sent == 2)
        assert await stream.cancel(wait=True) == "cancelled"
        record = await server.wait_closed("req-1")
    assert (record.ended, record.dialect) == ("client_closed", provider)


@every
async def test_a_cut_answer_keeps_an_estimate_of_what_it_cost(provider: str) -> None:
    """A head that counts one token of output is not the truth about a hundred."""
    script = Script(text="word " * 100, fault=Fault("cut", after=100))
    async with ModelServer(script) as server, puck.Node() as node:
        stream = await node.start_stream(client(server, provider), "Hi")
        async with stream.subscribe() as events:
            *_, last = [event async for event in events]
    assert isinstance(last, puck.ErrorEvent)
    assert last.usage is not None
    assert (last.usage.output, last.usage.estimated) == (125, True)


@every
async def test_the_connection_is_used_again(provider: str) -> None:
    async with ModelServer(Script(text="a b")) as server:
        resources, backend = Resources(), client(server, provider).backend
        for _ in range(3):
            request = puck.Request(({"role": "user", "content": "x"},))
            async with asyncio.timeout(20), backend.open(request, resources) as chunks:
                assert [chunk async for chunk in chunks][-1].type == "finish"
        assert {record.connection for record in server.records} == {1}
        await resources.aclose()
