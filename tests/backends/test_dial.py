"""Connecting by name: the first address that answers, and no socket left behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from puckstream.backends.dial import dial


@pytest.fixture
def listening() -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


@pytest.fixture
def deaf() -> Iterator[tuple[str, int]]:
    """An address that takes connections and never finishes one: its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield server.getsockname()
        for filler in fillers:
            filler.close()


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    async def getaddrinfo(*args: Any, **kwargs: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


async def test_a_number_needs_no_lookup(
    listening: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch)
    sock = await dial(*listening)
    assert sock.getpeername() == listening
    sock.close()


async def test_a_name_is_looked_up(listening: tuple[str, int]) -> None:
    sock = await dial("localhost", listening[1])
    assert sock.getpeername() == listening
    sock.close()


async def test_an_address_that_refuses_is_followed_by_the_next(
    listening: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, ("127.0.0.1", 1), listening)
    sock = await dial("host.example", 1)
    assert sock.getpeername() == listening
    sock.close()


async def test_an_address_that_is_silent_is_overtaken_by_the_next(
    listening: tuple[str, int], deaf: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("puckstream.backends.dial._HEAD_START", 0.0)
    resolve_to(monkeypatch, deaf, listening)
    sock = await dial("host.example", 1)
    assert sock.getpeername() == listening
    sock.close()


async def test_if_no_address_answers_the_first_error_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve_to(monkeypatch, ("127.0.0.1", 1), ("127.0.0.1", 2))
    with pytest.raises(ConnectionRefusedError):
        await dial("host.example", 1)


async def test_an_unknown_host_is_an_error() -> None:
    with pytest.raises(socket.gaierror):
        await dial("nowhere.invalid", 1)


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancel_at_any_moment_leaves_no_socket(
    turns: int,
    listening: tuple[str, int],
    deaf: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The leak check of this suite counts the sockets."""
    monkeypatch.setattr("puckstream.backends.dial._HEAD_START", 0.0)
    for addresses in ((deaf,), (deaf, deaf), (deaf, listening), (listening, listening)):
        resolve_to(monkeypatch, *addresses)
        task = asyncio.ensure_future(dial("host.example", 1))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result().close()
