"""What every transport promises, on each of them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from puckstream.clock import LoopClock
from puckstream.transports.base import Sent, Transport
from puckstream.transports.codec import Codec
from puckstream.transports.frame import Kind
from puckstream.transports.greeting import Greeting, NodeId
from puckstream.transports.memory import Network
from puckstream.transports.mesh import Mesh
from puckstream.transports.zeromq import ZeroMqTransport

PATIENCE = 20.0

Make = Callable[[], Transport]
CODEC = Codec()


class Inbox:
    """A sink that keeps everything, and can be waited for."""

    def __init__(self) -> None:
        self.frames: list[tuple[bytes, bytes]] = []
        self.notes: list[tuple[str, bytes]] = []
        self.addresses: set[str] = set()
        self._changed = asyncio.Event()

    def frame(self, channel: bytes, data: bytes) -> None:
        self.frames.append((channel, data))
        self._changed.set()

    def drained(self, channel: bytes) -> None:
        self.notes.append(("drained", channel))
        self._changed.set()

    def lost(self, channel: bytes) -> None:
        self.notes.append(("lost", channel))
        self._changed.set()

    def found(self, addresses: Iterable[str]) -> None:
        self.addresses.update(addresses)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def of(self, channel: bytes) -> list[bytes]:
        return [data for name, data in self.frames if name == channel]


@pytest.fixture(params=["memory", "ipc", "tcp"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Make transports that reach each other; for use within a running loop."""
    numbers = itertools.count()
    networks: list[Network] = []

    def made() -> Transport:
        if request.param == "memory":
            if not networks:
                networks.append(Network(LoopClock(asyncio.get_running_loop())))
            return networks[0].transport(f"memory:{next(numbers)}")
        if request.param == "ipc":
            return ZeroMqTransport([f"ipc://{tmp_path}/{next(numbers)}"])
        return ZeroMqTransport(["tcp://127.0.0.1:*"])

    return made


@contextlib.asynccontextmanager
async def opened(make: Make) -> AsyncGenerator[tuple[Transport, Inbox, str]]:
    transport, inbox = make(), Inbox()
    (address,) = await transport.open(inbox)
    try:
        yield transport, inbox, address
    finally:
        await transport.close()


async def test_frames_of_a_channel_arrive_in_order_under_its_name(make: Make) -> None:
    async with opened(make) as (one, _, _), opened(make) as (_, inbox, address):
        one.dial(address, b"first")
        one.dial(address, b"second")
        for number in range(500):
            assert one.send(b"first", b"%d" % number) is Sent.QUEUED
            assert one.send(b"second", b"%d" % -number) is Sent.QUEUED
        await inbox.until(lambda: len(inbox.frames) == 1_000)
        assert inbox.of(b"first") == [b"%d" % number for number in range(500)]
        assert inbox.of(b"second") == [b"%d" % -number for number in range(500)]


async def test_channels_go_both_ways_at_once(make: Make) -> None:
    async with opened(make) as (one, first, here), opened(make) as (two, second, there):
        one.dial(there, b"there")
        two.dial(here, b"back")
        one.send(b"there", b"ping")
        two.send(b"back", b"pong")
        await second.until(lambda: bool(second.frames))
        await first.until(lambda: bool(first.frames))
        assert (first.frames, second.frames) == ([(b"back", b"pong")], [(b"there", b"ping")])


async def test_large_and_empty_frames_travel(make: Make) -> None:
    sizes = [0, 1, 255, 256, 65_536, 1 << 20]
    async with opened(make) as (one, _, _), opened(make) as (_, inbox, address):
        one.dial(address, b"c")
        for size in sizes:
            one.send(b"c", b"x" * size)
        await inbox.until(lambda: len(inbox.frames) == len(sizes))
        assert [len(data) for _, data in inbox.frames] == sizes


async def test_a_channel_whose_other_end_does_not_read_is_busy_and_says_when_it_goes_on(
    make: Make,
) -> None:
    """The receiver's loop is this one: it reads nothing while this test does not await."""
    async with opened(make) as (one, sender, _), opened(make) as (_, inbox, address):
        one.dial(address, b"c")
        sent, body = 0, b"x" * 2_000
        while one.send(b"c", body) is Sent.QUEUED:
            sent += 1
            assert sent < 200_000
        assert one.send(b"c", body) is Sent.BUSY
        await sender.until(lambda: ("drained", b"c") in sender.notes)
        await inbox.until(lambda: len(inbox.frames) == sent)
        assert one.send(b"c", b"last") is Sent.QUEUED
        await inbox.until(lambda: inbox.frames[-1] == (b"c", b"last"))


async def test_one_that_does_not_read_keeps_nobody_else_waiting(make: Make) -> None:
    async with opened(make) as (one, _, _), opened(make) as (_, inbox, address):
        nobody = make()
        one.dial(address, b"good")
        one.dial("ipc:///nowhere/at/all", b"dead")
        while one.send(b"dead", b"x") is Sent.QUEUED:
            pass
        one.send(b"good", b"hello")
        await inbox.until(lambda: bool(inbox.frames))
        await nobody.close()


async def test_what_was_sent_before_hanging_up_arrives(make: Make) -> None:
    async with opened(make) as (one, _, _), opened(make) as (_, inbox, address):
        one.dial(address, b"c")
        one.send(b"c", b"first")
        await inbox.until(lambda: bool(inbox.frames))
        for number in range(100):
            one.send(b"c", b"%d" % number)
        one.hang_up(b"c", flush=True)
        await inbox.until(lambda: len(inbox.frames) == 101)
        assert one.send(b"c", b"lost") is Sent.QUEUED
        one.dial(address, b"d")
        one.send(b"d", b"end")
        await inbox.until(lambda: inbox.frames[-1] == (b"d", b"end"))
        assert (b"c", b"lost") not in inbox.frames


async def test_hanging_up_twice_or_what_is_unknown_is_nothing(make: Make) -> None:
    async with opened(make) as (one, _, address):
        one.dial(address, b"c")
        one.hang_up(b"c", flush=False)
        one.hang_up(b"c", flush=True)
        one.hang_up(b"unknown", flush=True)


@pytest.mark.parametrize("address", ["ipc:///nowhere/at/all", "tcp://127.0.0.1:1", "no address"])
async def test_an_address_that_nobody_has_is_silent(make: Make, address: str) -> None:
    async with opened(make) as (one, _, _), opened(make) as (_, inbox, good):
        one.dial(address, b"dead")
        one.send(b"dead", b"hello")
        one.dial(good, b"alive")
        one.send(b"alive", b"hello")
        await inbox.until(lambda: inbox.frames == [(b"alive", b"hello")])


async def test_an_address_in_use_is_an_error_and_leaves_nothing(make: Make) -> None:
    async with opened(make) as (_, _, address):
        if isinstance(make(), ZeroMqTransport) and address.startswith("ipc"):
            other: Transport = ZeroMqTransport(["ipc:///nowhere/at/all/socket"])
        elif address.startswith("tcp"):
            other = ZeroMqTransport([address])
        else:
            other = make()
            other.address = address  # type: ignore[attr-defined]
        with pytest.raises(OSError, match=r"in use|No such file"):
            await other.open(Inbox())
        await other.close()


async def test_a_closed_transport_sends_and_receives_nothing(make: Make) -> None:
    async with opened(make) as (one, inbox, address):
        await one.close()
        await one.close()
        one.dial(address, b"c")
        assert one.send(b"c", b"x") is Sent.QUEUED
        assert inbox.frames == []


async def test_an_address_is_free_again_once_its_transport_is_closed(make: Make) -> None:
    async with opened(make) as (first, _, address):
        await first.close()
        if address.startswith("memory"):
            again: Transport = make()
            again.address = address  # type: ignore[attr-defined]
        else:
            again = ZeroMqTransport([address])
        inbox = Inbox()
        assert await again.open(inbox) == (address,)
        async with opened(make) as (other, _, _):
            other.dial(address, b"c")
            other.send(b"c", b"hello")
            await inbox.until(lambda: inbox.frames == [(b"c", b"hello")])
        await again.close()


# -- and a mesh on top


class Ears:
    """Counts what a mesh reports."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.changed = asyncio.Event()

    def _hear(self, *what: Any) -> None:
        self.heard.append(what)
        self.changed.set()

    def node_up(self, node: NodeId, greeting: Greeting) -> None:
        assert greeting.node == node
        self._hear("up", node.name)

    def node_suspect(self, node: NodeId) -> None:
        """Not worth waiting for."""

    def node_recovered(self, node: NodeId) -> None:
        """Not worth waiting for."""

    def node_down(self, node: NodeId, reason: str, detail: str) -> None:
        del detail
        self._hear("down", node.name, reason)

    def received(self, node: NodeId, kind: int, body: bytes) -> None:
        assert kind == Kind.CAST
        self._hear(node.name, body)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


async def test_two_meshes_link_talk_and_part(make: Make) -> None:
    clock, ears, meshes = LoopClock(asyncio.get_running_loop()), {}, {}
    for number, name in enumerate("ab"):
        ears[name] = Ears()
        meshes[name] = Mesh(
            Greeting(NodeId(name, b"%012d" % number), "team"),
            CODEC,
            make(),
            ears[name],
            clock,
            chance=random.Random(number),
        )
    a, b = meshes["a"], meshes["b"]
    await a.open()
    await b.open(a.me.addresses)
    await ears["a"].until(lambda: ears["a"].heard == [("up", "b")])
    await ears["b"].until(lambda: ears["b"].heard == [("up", "a")])
    (node,) = a.nodes
    for number in range(3_000):
        assert a.send(node, Kind.CAST, b"%d" % number)
    await b.close("enough")
    await ears["a"].until(lambda: ears["a"].heard[-1] == ("down", "b", "bye"))
    await a.close()


async def test_frames_between_meshes_are_complete_however_many_there_are(make: Make) -> None:
    clock, ears = LoopClock(asyncio.get_running_loop()), Ears()
    greeting = Greeting(NodeId("a", b"a" * 12), "team")
    a = Mesh(greeting, CODEC, make(), Ears(), clock)
    b = Mesh(replace(greeting, node=NodeId("b", b"b" * 12)), CODEC, make(), ears, clock)
    await a.open()
    await b.open(a.me.addresses)
    await ears.until(lambda: ears.heard == [("up", "a")])
    (node,) = a.nodes
    total = 30_000
    for number in range(total):
        if a.waiting(node) > 5_000:
            await ears.until(lambda: a.waiting(node) < 1_000)
        assert a.send(node, Kind.CAST, b"%d" % number)
    await ears.until(lambda: len(ears.heard) == total + 1)
    assert ears.heard[1:] == [("a", b"%d" % number) for number in range(total)]
    await b.close()
    await a.close()
