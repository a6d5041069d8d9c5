"""A probe keeps what an actor would get, until a test takes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.signals import KILLED, NO_ACTOR, Custom, Down, Exit
from puckstream.node import Node
from puckstream.testing.probe import Probe


class Idle(Actor):
    """Does nothing."""


@asynccontextmanager
async def probed() -> AsyncGenerator[tuple[Node, Probe]]:
    async with Node() as node:
        yield node, await Probe.on(node)


async def test_messages_are_received_in_the_order_they_came() -> None:
    async with probed() as (_, probe):
        probe.ref.tell(1)
        probe.ref.tell(2)
        assert await probe.receive() == 1
        assert probe.messages == (2,)
        assert await probe.receive(int) == 2
        await probe.no_message()


async def test_receive_waits_for_the_message() -> None:
    async with probed() as (_, probe):
        first, second = (asyncio.ensure_future(probe.receive()) for _ in range(2))
        await probe.no_message()
        assert not first.done()
        probe.ref.tell("a")
        probe.ref.tell("b")
        assert (await first, await second) == ("a", "b")


async def test_a_cancelled_receive_takes_no_message() -> None:
    async with probed() as (_, probe):
        first, second = (asyncio.ensure_future(probe.receive()) for _ in range(2))
        await probe.no_message()
        probe.ref.tell("a")
        first.cancel()
        assert await second == "a"
        await asyncio.wait([first])
        assert first.cancelled()


async def test_receive_of_another_class_fails_and_leaves_the_message() -> None:
    async with probed() as (_, probe):
        probe.ref.tell("text")
        with pytest.raises(AssertionError, match="expected a int, got 'text'"):
            await probe.receive(int)
        assert probe.messages == ("text",)


async def test_expect_compares_one_message_after_the_other() -> None:
    async with probed() as (_, probe):
        for message in "abc":
            probe.ref.tell(message)
        await probe.expect("a", "b")
        with pytest.raises(AssertionError, match="message 1 of 1: expected 'x', got 'c'"):
            await probe.expect("x")


async def test_no_message_fails_if_there_is_one_or_one_is_under_way() -> None:
    async with probed() as (_, probe):
        await probe.no_message()
        probe.ref.tell("surprise")
        with pytest.raises(AssertionError, match="expected no message, got \\['surprise'\\]"):
            await probe.no_message()


async def test_a_request_is_answered_with_none() -> None:
    async with probed() as (_, probe):
        assert await probe.ref.call("question") is None
        await probe.expect("question")


async def test_it_monitors_and_links_like_any_actor_that_traps_exits() -> None:
    async with probed() as (node, probe):
        ref = await node.spawn(Idle)
        number = probe.monitor(ref)
        probe.demonitor(probe.monitor(ref))
        probe.link(ref)
        ref.exit("kill")
        await probe.expect(Exit(ref, KILLED), Down(number, ref, KILLED))
        number = probe.monitor(ref)
        await probe.expect(Down(number, ref, NO_ACTOR))
        other = await node.spawn(Idle)
        probe.link(other)
        probe.unlink(other)
        other.exit("boom")
        assert await other.wait_stopped() == Custom("boom")
        await probe.no_message()


def test_a_probe_that_was_never_started_says_how() -> None:
    with pytest.raises(RuntimeError, match=r"await Probe\.on\(node\)"):
        Probe().ref.tell(1)
