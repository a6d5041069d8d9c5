"""The package's own backends keep the contract that is published for others."""

from __future__ import annotations

import json

import pytest

from puckstream.backends.anthropic import Anthropic
from puckstream.backends.base import Backend
from puckstream.backends.ollama import Ollama
from puckstream.backends.openai import OpenAI
from puckstream.backends.openai_responses import OpenAIResponses
from puckstream.testing.backend_contract import BackendContract
from puckstream.testing.chat_dialect import ChatDialect
from puckstream.testing.dialect import Dialect
from puckstream.testing.messages_dialect import MessagesDialect
from puckstream.testing.ollama_dialect import OllamaDialect
from puckstream.testing.responses_dialect import ResponsesDialect
from puckstream.testing.script import Script, ToolCall

TEXT = "Der Hafen ist ruhig – „alles gut“ ✓ 灯"
SCRIPT = Script(text=TEXT, tool_calls=(ToolCall("look", '{"at": "the lámp"}'),), chunk=2)


def spoken(dialect: Dialect) -> bytes:
    """Return an answer as the scripted model would send it."""
    asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    request = {**asked, "input": "x", "stream": True, "stream_options": {"include_usage": True}}
    reply = dialect.reply(dialect.read(json.dumps(request).encode()), SCRIPT, "1", 0)
    pieces = SCRIPT.pieces()
    return b"".join([reply.opening(), *map(reply.piece, pieces), *reply.ending(pieces)])


class TestOpenAI(BackendContract):
    answer = spoken(ChatDialect())
    text = TEXT

    def backend(self, url: str, key: str) -> Backend:
        return OpenAI("m", base_url=f"{url}/v1", api_key=key)


class TestOpenAIWithThinkTags(BackendContract):
    answer = spoken(ChatDialect())
    text = TEXT

    def backend(self, url: str, key: str) -> Backend:
        return OpenAI("m", base_url=f"{url}/v1", api_key=key, think_tags=True)


class TestOpenAIResponses(BackendContract):
    answer = spoken(ResponsesDialect())
    text = TEXT

    def backend(self, url: str, key: str) -> Backend:
        return OpenAIResponses("m", base_url=f"{url}/v1", api_key=key)


class TestAnthropic(BackendContract):
    answer = spoken(MessagesDialect())
    text = TEXT

    def backend(self, url: str, key: str) -> Backend:
        return Anthropic("m", base_url=url, api_key=key)


class TestOllama(BackendContract):
    answer = spoken(OllamaDialect())
    text = TEXT
    media = "application/x-ndjson"

    def backend(self, url: str, key: str) -> Backend:
        return Ollama("m", base_url=url, api_key=key)


async def test_the_contract_runs_without_a_test_framework_and_names_what_is_broken() -> None:
    class Deaf(TestOllama):
        text = "something else"

    await TestOllama().run()
    with pytest.raises(AssertionError) as caught:
        await Deaf().run()
    assert "an answer is its text and ends with one finish" in caught.value.__notes__[0]
