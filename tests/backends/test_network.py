"""The sockets under httpx: TCP and TLS on loopback."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import httpcore
import pytest
import trustme

from puckstream.backends.base import Request, Resources
from puckstream.backends.cancellation import through_doors
from puckstream.backends.network import AsyncioNetwork
from puckstream.backends.openai import OpenAI
from puckstream.errors import StreamError

ASK = Request(({"role": "user", "content": "hi"},))
DONE = b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\ndata: [DONE]\n\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority for certificates that nobody else knows."""
    return trustme.CA()


@pytest.fixture(scope="module")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def until_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


def raw_socket(stream: httpcore.AsyncNetworkStream) -> Any:
    return stream.get_extra_info("socket")


async def test_closing_returns_when_the_socket_is_closed(raw_server: Any) -> None:
    async with raw_server(until_the_end) as port:
        stream = await AsyncioNetwork().connect_tcp("127.0.0.1", port)
        sock = raw_socket(stream)
        assert stream.get_extra_info("server_addr") == ("127.0.0.1", port)
        await stream.aclose()
        assert sock.fileno() == -1
        await stream.aclose()
        with pytest.raises(httpcore.ReadError, match="closed on this side"):
            await stream.read(10)
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"x")


async def test_closing_a_tls_connection_returns_when_the_socket_is_closed(
    raw_server: Any, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async with raw_server(until_the_end, server_context) as port:
        stream = await AsyncioNetwork().connect_tcp("127.0.0.1", port)
        stream = await stream.start_tls(client_context, "127.0.0.1")
        assert stream.get_extra_info("ssl_object").version().startswith("TLS")
        sock = raw_socket(stream)
        await stream.aclose()
        assert sock.fileno() == -1


async def test_a_read_takes_what_is_there_and_no_more_than_it_asks_for(raw_server: Any) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"abcdef")
        await writer.drain()
        writer.write_eof()
        await reader.read()

    async with raw_server(talk) as port:
        stream = await AsyncioNetwork().connect_tcp("127.0.0.1", port)
        got = [await stream.read(4)]
        assert stream.get_extra_info("is_readable")
        while data := await stream.read(4):
            got.append(data)
        assert b"".join(got) == b"abcdef"
        assert max(map(len, got)) <= 4
        await stream.aclose()


async def test_a_large_body_passes_both_ways_without_piling_up(raw_server: Any) -> None:
    size = 5_000_000

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = size
        while left:
            data = await reader.read(65536)
            left -= len(data)
            writer.write(data)
            await writer.drain()
        await reader.read()

    async with raw_server(echo) as port:
        stream = await AsyncioNetwork().connect_tcp("127.0.0.1", port)

        async def send() -> None:
            for _ in range(100):
                await stream.write(b"x" * (size // 100))

        sending = asyncio.ensure_future(send())
        got = most = 0
        while got < size:
            data = await stream.read(65536)
            got += len(data)
            most = max(most, len(stream._wire.unread))  # type: ignore[attr-defined]
        await sending
        await stream.aclose()
        assert most < 1_000_000


async def test_a_reader_is_told_of_a_broken_connection(raw_server: Any) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER 0: close by a reset
        writer.transport.abort()

    async with raw_server(talk) as port:
        stream = await AsyncioNetwork().connect_tcp("127.0.0.1", port)
        await stream.write(b"x")
        with pytest.raises(httpcore.ReadError, match="reset"):
            await stream.read(10)
        await stream.aclose()


async def test_read_and_write_give_up_when_told_to(raw_server: Any) -> None:
    never = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await never.wait()

    async with raw_server(talk) as port:
        stream = await AsyncioNetwork().connect_tcp("127.0.0.1", port)
        with pytest.raises(httpcore.ReadTimeout):
            await stream.read(10, timeout=0.0)
        with pytest.raises(httpcore.WriteTimeout):
            await stream.write(b"x" * 50_000_000, timeout=0.0)
        await stream.aclose()


async def test_connecting_gives_up_when_told_to(raw_server: Any) -> None:
    async with raw_server(until_the_end) as port:
        with pytest.raises(httpcore.ConnectTimeout):
            await AsyncioNetwork().connect_tcp("127.0.0.1", port, timeout=0.0)


async def test_a_handshake_that_nobody_answers_gives_up_and_closes(
    raw_server: Any, client_context: ssl.SSLContext
) -> None:
    async with raw_server(until_the_end) as port:
        stream = await AsyncioNetwork().connect_tcp("127.0.0.1", port)
        sock = raw_socket(stream)
        with pytest.raises(httpcore.ConnectTimeout):
            await stream.start_tls(client_context, "127.0.0.1", timeout=0.0)
        assert sock.fileno() == -1
        await stream.aclose()


@pytest.mark.parametrize("turns", range(1, 9))
@pytest.mark.parametrize("again", [0, 2])
async def test_a_cancel_in_the_handshake_closes_the_connection(
    turns: int,
    again: int,
    raw_server: Any,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    async with raw_server(until_the_end, server_context) as port:
        stream = await AsyncioNetwork().connect_tcp("127.0.0.1", port)
        sock = raw_socket(stream)
        task = asyncio.ensure_future(through_doors(stream.start_tls(client_context, "127.0.0.1")))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        for _ in range(again):
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            await stream.aclose()
        assert sock.fileno() == -1


async def test_https_works_and_checks_the_certificate(
    raw_server: Any, authority: trustme.CA, server_context: ssl.SSLContext, tmp_path: Path
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}]")
        writer.write(DONE)
        await writer.drain()
        await reader.read()

    async def types(**options: Any) -> list[str]:
        resources = Resources()
        backend = OpenAI("m", base_url=f"https://127.0.0.1:{port}/v1", api_key="k", **options)
        try:
            async with backend.open(ASK, resources) as chunks:
                return [chunk.type async for chunk in chunks]
        finally:
            await resources.aclose()

    async with raw_server(talk, server_context) as port:
        authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
        assert await types(verify=str(tmp_path / "authority.pem")) == ["finish"]
        assert await types(verify=False) == ["finish"]
        with pytest.raises(StreamError, match="certificate") as caught:
            await types()
        assert (caught.value.kind, caught.value.retryable) == ("connection", False)


async def test_a_proxy_of_the_environment_is_used(
    raw_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        await reader.readuntil(b"}]")
        writer.write(DONE)
        await writer.drain()
        await reader.read()

    async with raw_server(talk) as port:
        for name in ("no_proxy", "NO_PROXY", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTP_PROXY", f"http://me:s%3Dcret@127.0.0.1:{port}")
        resources = Resources()
        backend = OpenAI("m", base_url="http://model.example/v1")
        async with backend.open(ASK, resources) as chunks:
            assert [chunk.type async for chunk in chunks] == ["finish"]
        await resources.aclose()
    assert heads[0].startswith(b"POST http://model.example/v1/chat/completions HTTP/1.1")
    assert b"roxy-Authorization: Basic bWU6cz1jcmV0" in heads[0]
