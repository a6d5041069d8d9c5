"""The OpenAI backend against a scripted model on a real socket."""

from __future__ import annotations

import asyncio
import json
from types import MappingProxyType
from typing import Any

import pytest

from puckstream.backends.base import Backend, Chunk, Request, Resources, Usage
from puckstream.backends.openai import OpenAI
from puckstream.errors import InvalidOption, MissingKey, StreamError
from puckstream.testing.builtin_scripts import BUILTIN_SCRIPTS
from puckstream.testing.model_server import ModelServer
from puckstream.testing.script import Fault, Script, ToolCall

ASK = Request(({"role": "user", "content": "two words"},))


def client(server: ModelServer, model: str = "any", **options: Any) -> OpenAI:
    return OpenAI(model, base_url=server.url, api_key="sk-test", **options)


async def answer(backend: Backend, resources: Resources, request: Request = ASK) -> list[Chunk]:
    async with backend.open(request, resources) as chunks:
        return [chunk async for chunk in chunks]


async def failure(backend: Backend, request: Request = ASK) -> tuple[StreamError, list[Chunk]]:
    """Return the error with which an answer ended, and the chunks before."""
    resources, got = Resources(), list[Chunk]()

    async def read() -> None:
        async with backend.open(request, resources) as chunks:
            async for chunk in chunks:
                got.append(chunk)

    try:
        with pytest.raises(StreamError) as caught:
            await read()
    finally:
        await resources.aclose()
    return caught.value, got


# -------------------------------------------------------------------------------------- answers


async def test_an_answer_is_its_text_in_order_and_one_finish() -> None:
    async with ModelServer(Script(text="Hello there, wörld.")) as server:
        resources = Resources()
        chunks = await answer(client(server), resources)
        await resources.aclose()
    assert [chunk.content for chunk in chunks] == ["Hello ", "there, ", "wörld.", ""]
    assert [chunk.type for chunk in chunks] == ["content"] * 3 + ["finish"]
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].usage == Usage(2, 3, 0)
    assert chunks[-1].model == "any"
    assert chunks[-1].response_id == "chatcmpl-req-1"


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_thinking_tools_and_refusals_have_chunks_of_their_own(field: str) -> None:
    script = Script(
        text="Wait.",
        thinking="let me see",
        thinking_field=field,
        refusal="Not that.",
        tool_calls=(ToolCall("add", '{"x": 1}', "c1"), ToolCall("mul", '{"y": 2}')),
    )
    async with ModelServer(script) as server:
        resources = Resources()
        chunks = await answer(client(server), resources)
        await resources.aclose()

    def text(kind: str) -> str:
        return "".join(chunk.content for chunk in chunks if chunk.type == kind)

    assert (text("thinking"), text("content"), text("refusal")) == (
        "let me see",
        "Wait.",
        "Not that.",
    )
    calls: dict[tuple[int, str, str], str] = {}
    for chunk in chunks:
        if chunk.type == "tool_use":
            known = chunk.metadata
            call = (known["index"], known["id"], known["name"])
            calls[call] = calls.get(call, "") + chunk.content
    assert calls == {(0, "c1", "add"): '{"x": 1}', (1, "call_2", "mul"): '{"y": 2}'}
    assert chunks[-1].finish_reason == "tool_calls"
    assert chunks[-1].usage.thinking == 3


async def test_the_request_carries_key_options_and_headers(raw_server: Any) -> None:
    seen: dict[str, Any] = {}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        seen["line"], *lines = head.strip().split("\r\n")
        seen["headers"] = dict(line.split(": ", 1) for line in lines)
        seen["body"] = json.loads(await reader.readexactly(int(seen["headers"]["content-length"])))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\ndata: [DONE]\n\n")
        await writer.drain()

    async with raw_server(talk) as port:
        resources = Resources()
        backend = OpenAI(
            "m",
            base_url=f"http://127.0.0.1:{port}/v1/?api-version=3",
            api_key="sk-test",
            organization="org-1",
            headers={"X-Extra": "yes", "User-Agent": "mine"},
            options={"temperature": 0.5, "seed": 1, "stream_options": None},
        )
        turn = MappingProxyType({"role": "user", "content": "hi"})
        chunks = await answer(backend, resources, Request((turn,), {"seed": 2}))
        await resources.aclose()
    assert [chunk.type for chunk in chunks] == ["finish"]
    assert seen["line"] == "post /v1/chat/completions?api-version=3 http/1.1"
    assert seen["body"] == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "temperature": 0.5,
        "seed": 2,
    }
    headers = seen["headers"]
    assert headers["authorization"] == "bearer sk-test"
    assert headers["openai-organization"] == "org-1"
    assert (headers["x-extra"], headers["user-agent"]) == ("yes", "mine")
    assert headers["accept-encoding"] == "identity"


async def test_a_connection_whose_answer_was_read_to_the_end_is_used_again() -> None:
    async with ModelServer(Script(text="a b")) as server:
        resources = Resources()
        for _ in range(3):
            await answer(client(server), resources)
        assert {record.connection for record in server.records} == {1}
        await resources.aclose()
        await server.wait_connections(0)


async def test_an_answer_that_its_reader_leaves_is_closed() -> None:
    async with ModelServer(Script(text="a b c"), gated=True) as server:
        resources = Resources()
        server.release(1)
        async with client(server).open(ASK, resources) as chunks:
            assert (await anext(chunks)).content == "a "
        record = await server.wait_closed("req-1")
        assert (record.ended, record.tokens_sent) == ("client_closed", 1)
        await resources.aclose()


async def test_an_error_of_the_reader_passes_and_the_answer_is_closed() -> None:
    async with ModelServer(Script(text="a b c"), gated=True) as server:
        resources = Resources()
        server.release(1)

        async def read() -> None:
            async with client(server).open(ASK, resources) as chunks:
                async for _ in chunks:
                    raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            await read()
        await server.wait_closed("req-1")
        await resources.aclose()


async def test_two_streams_at_once_are_two_connections_and_a_third_waits_its_turn() -> None:
    async with ModelServer(Script(text="a b"), gated=True) as server:
        resources = Resources()
        backend = client(server, max_connections=2)
        tasks = [asyncio.ensure_future(answer(backend, resources)) for _ in range(3)]
        await server.wait_record(lambda record: record.id == "req-2")
        assert server.connections == 2
        server.release(6)  # a, b and the end, twice
        await server.wait_record(lambda record: record.id == "req-3")
        assert server.connections == 2
        server.release(3)
        for chunks in await asyncio.gather(*tasks):
            assert [chunk.content for chunk in chunks] == ["a ", "b", ""]
        await resources.aclose()


async def test_many_connections_are_spread_and_each_stream_gets_its_own_answer() -> None:
    async with ModelServer({"echo": Script(echo=True)}) as server:
        resources = Resources()
        backend = client(server, "echo", max_connections=100)

        async def say(word: str) -> str:
            request = Request(({"role": "user", "content": word},))
            return "".join(c.content for c in await answer(backend, resources, request))

        words = [f"w{n}" for n in range(80)]
        assert await asyncio.gather(*map(say, words)) == words
        await resources.aclose()


# --------------------------------------------------------------------------------------- faults


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
    model: str, kind: str, status: int | None, retryable: bool, message: str
) -> None:
    script = BUILTIN_SCRIPTS[model]
    fault = script.fault
    assert fault is not None
    async with ModelServer({model: Script(text=script.text, fault=fault)}) as server:
        error, chunks = await failure(client(server, model))
        assert (error.kind, error.status, error.retryable) == (kind, status, retryable)
        assert error.retry_after == fault.retry_after
        assert message in error.message
        assert error.provider == "openai"
        assert all(chunk.type == "content" for chunk in chunks)
        assert len(chunks) == (0 if fault.before_head else fault.after)
        await server.wait_connections(0)


async def test_an_unreachable_upstream_says_where_it_was_looked_for() -> None:
    async with ModelServer() as server:
        backend = client(server)
    error, _ = await failure(backend)
    assert (error.kind, error.retryable) == ("connection", True)
    assert server.url.removesuffix("/v1") in error.message


async def test_a_host_that_does_not_exist_is_a_connection_error() -> None:
    error, _ = await failure(OpenAI("m", base_url="http://nowhere.invalid/v1"))
    assert error.kind == "connection"
    assert "http://nowhere.invalid" in error.message


SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
TEXT = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
STOP = b'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'


def length(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "protocol", "does not speak HTTP"),
        (b"", "connection", "cut the connection"),
        (SSE, "connection", "before it began"),
        (SSE + TEXT, "connection", "before it was complete"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + TEXT, "connection", "cut the"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + length(b"<html>log in</html>"),
            "protocol",
            "answered text/html instead of a stream of events",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + length(b'{"id": "1"}'),
            "protocol",
            "answered application/json",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            + length(b'{"error": {"message": "no such model", "code": 404}}'),
            "invalid_request",
            "no such model",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n" + length(b"no gzip"),
            "protocol",
            "Content-Encoding",
        ),
        (
            b"HTTP/1.1 307 Temporary Redirect\r\nLocation: https://x.example/\r\n" + length(b""),
            "invalid_request",
            "redirected to https://x.example/",
        ),
        (
            b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 100\r\n\r\n{",
            "rate_limit",
            "HTTP 429 Too Many Requests",
        ),
    ],
)
async def test_a_misbehaving_upstream_is_told_as_what_it_is(
    reply: bytes, kind: str, message: str, raw_server: Any
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}]")
        writer.write(reply)
        await writer.drain()
        writer.write_eof()
        await reader.read()

    async with raw_server(talk) as port:
        error, _ = await failure(OpenAI("m", base_url=f"http://127.0.0.1:{port}/v1"))
    assert error.kind == kind
    assert message in error.message


@pytest.mark.parametrize("tail", [b"data: [DONE]", b"data: [DONE]\n", b""])
async def test_an_answer_needs_a_finish_reason_or_done_and_no_blank_line(
    tail: bytes, raw_server: Any
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}]")
        writer.write(SSE + TEXT + STOP + tail)
        await writer.drain()
        writer.write_eof()
        await reader.read()

    async with raw_server(talk) as port:
        resources = Resources()
        chunks = await answer(OpenAI("m", base_url=f"http://127.0.0.1:{port}/v1"), resources)
        await resources.aclose()
    assert [chunk.content for chunk in chunks] == ["a", ""]


# -------------------------------------------------------------------------------------- options


def test_openai_s_own_address_demands_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(MissingKey, match="OPENAI_API_KEY"):
        OpenAI("gpt-4o-mini")
    assert OpenAI("m", base_url="http://localhost:1/v1").api_key == ""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    assert OpenAI("gpt-4o-mini").base_url == "https://api.openai.com/v1"


def test_the_environment_is_read_when_the_backend_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    backend = OpenAI("m")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:2/v1")
    assert (backend.base_url, backend.api_key) == ("http://localhost:1/v1", "sk-env")
    assert OpenAI("m", base_url="http://localhost:3/v1", api_key="").api_key == ""


def test_a_key_is_never_printed() -> None:
    backend = OpenAI(
        "m", base_url="http://h/v1", api_key="sk-secret", headers={"x-api-key": "sk-secret"}
    )
    assert "sk-secret" not in repr(backend)
    assert hash(backend) == hash(OpenAI("m", base_url="http://h/v1", api_key="sk-secret"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": "localhost:8000/v1"}, "http or https URL"),
        ({"base_url": "ftp://h/v1"}, "http or https URL"),
        ({"base_url": "http:///v1"}, "http or https URL"),
        ({"base_url": "http://h:99999/v1"}, "port"),
        ({"base_url": "http://h/v1/chat/completions"}, "leave /chat/completions out"),
        ({"base_url": "http://me:pass@h/v1"}, "credentials"),
        ({"api_key": "sk-\n"}, "newline"),
        ({"api_key": "schlüssel"}, "non-ASCII"),
        ({"headers": {"x": "a\r\nb"}}, "headers='x'"),
        ({"max_connections": 0}, "max_connections=0"),
        ({"connect_timeout": 0}, "connect_timeout=0"),
    ],
)
def test_an_impossible_option_is_named_and_its_secret_is_not(
    options: dict[str, Any], message: str
) -> None:
    given: dict[str, Any] = {"base_url": "http://h/v1", **options}
    with pytest.raises(InvalidOption, match=message) as caught:
        OpenAI("m", **given)
    assert "pass" not in str(caught.value)
    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"n": 2}, "a stream is one answer"), ({"stop": object()}, "cannot be sent as JSON")],
)
async def test_a_request_that_cannot_be_sent_is_refused_before_anything_is(
    options: dict[str, Any], message: str
) -> None:
    backend = OpenAI("m", base_url="http://nowhere.invalid/v1")
    error, _ = await failure(backend, Request(ASK.messages, options))
    assert error.kind == "invalid_request"
    assert message in error.message


def test_what_is_for_another_dialect_stays_here() -> None:
    backend = OpenAI("m", base_url="http://h/v1")
    turn = {"role": "assistant", "content": "a", "native": {"anthropic": [1]}}
    result = {"role": "tool", "tool_call_id": "c", "content": "b", "is_error": True}
    assert backend.request_body(Request((turn, result)))["messages"] == [
        {"role": "assistant", "content": "a"},
        {"role": "tool", "tool_call_id": "c", "content": "b"},
    ]


def test_what_was_thought_before_a_call_is_sent_back_but_not_to_openai_itself() -> None:
    native = {"openai": {"reasoning_content": "Hm"}}
    request = Request(({"role": "assistant", "content": "a", "native": native},))
    said = {"role": "assistant", "content": "a"}
    near = OpenAI("m", base_url="http://h/v1").request_body(request)
    assert near["messages"] == [{**said, "reasoning_content": "Hm"}]
    own = OpenAI("m", base_url="https://api.openai.com/v1", api_key="k").request_body(request)
    assert own["messages"] == [said]


async def test_thinking_in_tags_is_told_apart_where_that_is_asked_for() -> None:
    async with ModelServer(Script(text="<think>Hm. </think>Yes, it is.", chunk=2)) as server:
        for think_tags, expected in ((False, {"content"}), (True, {"thinking", "content"})):
            resources = Resources()
            chunks = await answer(client(server, think_tags=think_tags), resources)
            await resources.aclose()
            assert {chunk.type for chunk in chunks} == expected | {"finish"}
    assert "".join(c.content for c in chunks if c.type == "content") == "Yes, it is."


async def test_a_fault_that_lasts_leaves_the_pool_as_it_was() -> None:
    script = Script(text="a b c", fault=Fault("cut", after=1))
    async with ModelServer([script, script, script, Script(text="fine")]) as server:
        resources = Resources()
        backend = client(server, max_connections=1)
        for _ in range(3):
            with pytest.raises(StreamError):
                await answer(backend, resources)
        assert (await answer(backend, resources))[0].content == "fine"
        await resources.aclose()
