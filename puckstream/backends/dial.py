"""A TCP connection to a host by name, by the address that answers first (RFC 8305).

asyncio's own ``happy_eyeballs_delay`` loses a socket when it is cancelled in the wrong moment,
and uvloop does not have it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from itertools import chain, zip_longest
from typing import Any

__all__ = ["dial"]

_HEAD_START = 0.25
"""Seconds one address has before the next is tried as well (RFC 8305, 8: 250 ms)."""

_Address = tuple[socket.AddressFamily, tuple[Any, ...]]


async def dial(host: str, port: int, local_address: str | None = None) -> socket.socket:
    """Return a connected, non-blocking socket. Cancelled or failed, it leaves none behind.

    Raises:
        OSError: if the host is unknown (``socket.gaierror``), or no address of it answers: the
            error of the first.
    """
    waiting = await _addresses(host, port)
    waiting.reverse()
    running: set[asyncio.Task[socket.socket]] = set()
    failures: list[OSError] = []
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(_attempt(*waiting.pop(), local_address)))
            done, running = await asyncio.wait(
                running,
                timeout=_HEAD_START if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            winner: socket.socket | None = None
            for attempt in done:
                error = attempt.exception()
                if isinstance(error, OSError):
                    failures.append(error)
                elif error is not None:
                    raise error
                elif winner is None:
                    winner = attempt.result()
                else:
                    attempt.result().close()
            if winner is not None:
                return winner
        raise failures[0]
    finally:
        await _abandon(running)


async def _abandon(running: set[asyncio.Task[socket.socket]]) -> None:
    for attempt in running:
        attempt.cancel()
    if running:
        await asyncio.wait(running)
    for attempt in running:
        if not attempt.cancelled() and attempt.exception() is None:
            attempt.result().close()


async def _attempt(
    family: socket.AddressFamily, address: tuple[Any, ...], local_address: str | None
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if local_address is not None:
            sock.bind((local_address, 0))
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _addresses(host: str, port: int) -> list[_Address]:
    """Return the addresses of ``host`` in the order in which to try them, families by turns."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        pass
    else:  # no thread is needed to look up a number
        return [(socket.AF_INET if version == 4 else socket.AF_INET6, (host, port))]  # noqa: PLR2004
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    by_family: dict[int, list[_Address]] = {}
    for family, _, _, _, address in found:
        by_family.setdefault(family, []).append((family, address))
    in_turn = chain.from_iterable(zip_longest(*by_family.values()))
    return [address for address in in_turn if address is not None]
