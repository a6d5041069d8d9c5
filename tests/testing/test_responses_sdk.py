"""OpenAI's own SDK talks to the scripted model by the Responses API, streaming and not."""

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
    refusal="Ask no more. ",
    tool_calls=(ToolCall("look", '{"at": "the lamp"}', "call_7"), ToolCall("see")),
)


@asynccontextmanager
async def sdk(*scripts: Script) -> AsyncGenerator[tuple[openai.AsyncOpenAI, ModelServer]]:
    async with (
        ModelServer(scripts or None) as server,
        openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0) as client,
    ):
        yield client, server


def check(response: object) -> None:
    """Check the whole answer, which is the same however it came."""
    said = response.model_dump(exclude_unset=True)  # type: ignore[attr-defined]
    assert (said["id"], said["status"]) == ("resp_req-1", "completed")
    assert [item["type"] for item in said["output"]] == [
        *("reasoning", "message", "message", "function_call", "function_call"),
    ]
    reasoning, message, refusal, look, see = said["output"]
    assert reasoning["summary"][0]["text"] == "Is it? "
    assert message["content"][0]["text"] == "All is well. "
    assert refusal["content"][0]["refusal"] == "Ask no more. "
    assert (look["call_id"], look["name"]) == ("call_7", "look")
    assert (look["arguments"], see["arguments"]) == ('{"at": "the lamp"}', "{}")
    usage = said["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (3, 14)
    assert usage["output_tokens_details"]["reasoning_tokens"] == 2


async def test_the_sdk_puts_the_stream_together() -> None:
    async with (
        sdk(SCRIPT) as (client, _),
        client.responses.stream(model="any", input="How is it?") as stream,
    ):
        events = [event async for event in stream]
        check(await stream.get_final_response())
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert deltas == ["All ", "is ", "well. "]


async def test_every_event_of_the_stream_is_numbered() -> None:
    async with sdk(SCRIPT) as (client, _):
        stream = await client.responses.create(model="any", input="x", stream=True)
        events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"


async def test_the_sdk_reads_a_whole_answer() -> None:
    async with sdk(SCRIPT) as (client, _):
        check(await client.responses.create(model="any", input="How is it?"))


async def test_the_conversation_goes_on_with_the_items_of_the_answer() -> None:
    async with sdk(SCRIPT, Script(echo=True)) as (client, _):
        first = await client.responses.create(
            model="any", input=[{"role": "user", "content": "Look!"}]
        )
        result = {"type": "function_call_output", "call_id": "call_7", "output": "fog"}
        history = [item.model_dump(exclude_none=True) for item in first.output]
        again = {"role": "user", "content": [{"type": "input_text", "text": "And now?"}]}
        second = await client.responses.create(
            model="any",
            input=[*history, result, again],  # type: ignore[list-item]
        )
        assert second.output_text == "And now?"
        with pytest.raises(openai.BadRequestError, match="no tool call found"):
            await client.responses.create(model="any", input=[result])  # type: ignore[list-item]


async def test_an_answer_that_is_cut_short_says_why() -> None:
    async with sdk(Script(text="a b", finish_reason="length")) as (client, _):
        response = await client.responses.create(model="any", input="x")
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


async def test_the_sdk_understands_refusals_and_errors_in_the_middle() -> None:
    broken = Script(text="a b c", fault=Fault("error", after=2, message="The oil ran out."))
    async with sdk(broken) as (client, _):
        with pytest.raises(openai.RateLimitError):
            await client.responses.create(model="rate-limited", input="x")
        stream = await client.responses.create(model="any", input="x", stream=True)
        events = [event async for event in stream]
    assert events[-1].type == "error"
    assert events[-1].message == "The oil ran out."
