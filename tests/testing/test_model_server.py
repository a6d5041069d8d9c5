"""The scripted model as a client sees it, and what it remembers of the client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from puckstream.errors import InvalidOption
from puckstream.testing.model_server import ModelServer, Scripts
from puckstream.testing.record import Record
from puckstream.testing.script import Fault, Script, ToolCall

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def wire(server: ModelServer) -> AsyncGenerator[Wire]:
    port = int(server.url.rpartition(":")[2].removesuffix("/v1"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def post(model: str = "any", **fields: Any) -> bytes:
    said = {"model": model, "messages": [{"role": "user", "content": "hi you"}], **fields}
    body = json.dumps(said).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def reply(wire: Wire, request: bytes) -> tuple[int, dict[str, str], Any]:
    """Send a request that is not streamed and read the response."""
    reader, writer = wire
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, json.loads(body)


async def get(wire: Wire, path: str, method: str = "GET") -> tuple[int, Any]:
    status, _, body = await reply(wire, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return status, body


async def test_a_request_that_is_not_streamed_gets_the_whole_answer() -> None:
    script = Script(text="a b", thinking="c", tool_calls=(ToolCall("f", "{}"),), prompt_tokens=7)
    async with ModelServer(script) as server, wire(server) as line:
        status, headers, body = await reply(line, post())
        assert (status, headers["x-request-id"]) == (200, "req-1")
        assert body["choices"][0]["message"]["content"] == "a b"
        assert body["choices"][0]["message"]["reasoning_content"] == "c"
        assert body["choices"][0]["finish_reason"] == "tool_calls"
        assert body["usage"]["prompt_tokens"] == 7
        assert body["usage"]["completion_tokens"] == 5
        record = server.records[0]
        assert (record.ended, record.tokens_sent, record.tokens_total) == ("complete", 5, 5)
        assert not record.closed
        await reply(line, post())
        assert [record.connection for record in server.records] == [1, 1]


async def test_the_other_pages_are_there_and_all_else_is_refused() -> None:
    async with ModelServer({"mine": Script()}) as server, wire(server) as line:
        assert await get(line, "/healthz") == (200, {"status": "ok"})
        status, models = await get(line, "/v1/models")
        assert status == 200
        assert {"mine", "story", "slow"} <= {model["id"] for model in models["data"]}
        assert await get(line, "/log") == (200, [])
        assert (await get(line, "/nothing"))[0] == 404
        assert (await get(line, "/v1/chat/completions"))[0] == 405
        assert (await get(line, "/log", "DELETE"))[0] == 405


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"messages": []}', "'model'"),
        (b'{"model": "x"}', "'messages'"),
        (b'{"model": "x", "messages": [1]}', "'role'"),
    ],
)
async def test_a_request_of_another_dialect_is_told_what_is_wrong(
    body: bytes, message: str
) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    async with ModelServer() as server, wire(server) as line:
        status, _, said = await reply(line, head % len(body) + body)
        assert status == 400
        assert message in said["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/v1/responses", b'{"model": "x"}', "'input' must be"),
        ("/v1/responses", b'{"model": "x", "input": [{}]}', "a 'type'"),
        ("/v1/messages", b'{"model": "x", "messages": [{"role": "user"}]}', "max_tokens"),
        ("/v1/messages", b'{"messages": []}', "'model'"),
        ("/api/chat", b'{"model": "x", "messages": []}', "'messages'"),
        ("/api/chat", b"nonsense", "not JSON"),
    ],
)
async def test_every_dialect_tells_what_is_wrong_in_its_own_words(
    path: str, body: bytes, message: str
) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    async with ModelServer() as server, wire(server) as line:
        status, _, said = await reply(line, head.encode() + body)
        assert status == 400
        error = said["error"]
        assert message in (error if path == "/api/chat" else error["message"])
        assert ("type" in said) == (path == "/v1/messages")
        assert (await get(line, path))[0] == 405


async def test_what_ollama_s_clients_ask_first_is_answered() -> None:
    async with ModelServer({"mine": Script()}) as server, wire(server) as line:
        _, tags = await get(line, "/api/tags")
        assert {"mine", "story"} <= {model["name"] for model in tags["models"]}
        assert (await get(line, "/api/version"))[1] == {"version": "0.0.0"}
        assert server.url == f"{server.origin}/v1"


async def test_a_name_chooses_the_script_and_the_rest_take_turns() -> None:
    scripts: Scripts = {
        "": [Script(text="first"), Script(text="second")],
        "mine": Script(text="mine"),
    }

    async def text(line: Wire, request: bytes) -> str:
        content: str = (await reply(line, request))[2]["choices"][0]["message"]["content"]
        return content

    async with ModelServer(scripts) as server, wire(server) as line:
        got = [await text(line, post(name)) for name in ("x", "y", "mine", "z", "scripted/mine")]
        assert got == ["first", "second", "mine", "first", "mine"]
        asked = post("x").replace(b"Host: x", b"Host: x\r\nX-Puckstream-Script: echo")
        assert await text(line, asked) == "hi you"
        status, _, body = await reply(line, asked.replace(b"echo", b"nope"))
        assert status == 404
        assert "no such script" in body["error"]["message"]
        assert [r.script for r in server.records][:3] == ["default", "default", "mine"]


def test_a_name_needs_a_script() -> None:
    with pytest.raises(InvalidOption, match="scripts='x'"):
        ModelServer({"x": []})


async def test_a_gated_server_sends_what_it_is_told_and_no_more() -> None:
    async with ModelServer(Script(text="a b c"), gated=True) as server, wire(server) as line:
        reader, writer = line
        writer.write(post(stream=True))
        server.release(2)
        record = await server.wait_record(lambda record: record.tokens_sent == 2)
        assert record.ended is None
        await reader.readuntil(b'"b "')
        server.release(2)  # c, and the end
        assert (await server.wait_record(lambda record: record.ended is not None)).tokens_sent == 3
        await reader.readuntil(b"[DONE]\n\n")


@pytest.mark.parametrize(
    ("fault", "sent"), [(Fault("stall", after=None), 0), (Fault("stall", after=2), 2)]
)
async def test_a_client_that_leaves_while_the_model_is_silent_is_noticed(
    fault: Fault, sent: int
) -> None:
    told: list[Record] = []
    script = Script(text="a b c", fault=fault)
    async with ModelServer(script, on_record=told.append) as server:
        async with wire(server) as line:
            line[1].write(post(stream=True))
            await server.wait_record(lambda record: record.tokens_sent == sent)
        record = await server.wait_closed("req-1")
        assert (record.ended, record.tokens_sent, record.tokens_total) == ("client_closed", sent, 3)
        await server.wait_connections(0)
    assert [record.ended for record in told] == ["client_closed"]
    assert str(told[0]).startswith(f"req-1 any [default] client closed after {sent} of 3 tokens")


async def test_a_client_that_does_not_read_holds_the_model_up() -> None:
    async with ModelServer(Script(text="word " * 200_000, chunk=100)) as server:
        async with wire(server) as line:
            line[1].write(post(stream=True))
            await server.wait_record(lambda record: record.tokens_sent > 0)
            for _ in range(200):
                await asyncio.sleep(0)
            assert server.records[0].tokens_sent < 200_000
        assert (await server.wait_closed("req-1")).ended == "client_closed"


async def test_the_end_of_the_server_ends_what_runs() -> None:
    script = Script(text="a", fault=Fault("stall", after=1))
    async with ModelServer(script) as server, wire(server) as line:
        line[1].write(post(stream=True))
        await server.wait_record(lambda record: record.tokens_sent == 1)
        await server.__aexit__(None, None, None)
        assert server.records[0].ended == "shutdown"
        assert server.connections == 0


async def test_what_is_no_http_is_dropped() -> None:
    async with ModelServer() as server, wire(server) as line:
        line[1].write(b"\x16\x03\x01 hello\r\n\r\n")
        assert await line[0].read() == b""


async def test_the_pace_of_a_script_is_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured on a loop that only notes how long it was asked to wait."""
    waits: list[float] = []
    genuine = asyncio.sleep

    async def sleep(delay: float) -> None:
        waits.append(delay)
        await genuine(0)

    script = Script(text="a b c d", rate=2.0, delay=0.25, delay_head=0.5)
    async with ModelServer(script) as server, wire(server) as line:
        monkeypatch.setattr(asyncio, "sleep", sleep)
        await reply(line, post())
        monkeypatch.undo()
    assert waits[:2] == [0.5, 0.25]
    assert waits[2:] == pytest.approx([0.0, 0.5, 1.0, 1.5], abs=0.2)
