"""What is no subscriber is refused in its caller, and costs the pub/sub actor nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import puckstream as puck


@pytest.mark.parametrize("wrong", [5, "a name", object()])
async def test_what_is_no_ref_is_refused_by_name_in_the_caller(wrong: Any) -> None:
    async with puck.Node() as node:
        before = node.whereis_child("pubsub")
        with pytest.raises(puck.InvalidOption, match="ref="):
            await node.pubsub.subscribe("news", wrong)
        assert node.whereis_child("pubsub") is before


async def test_an_actor_of_another_node_is_refused_by_name_in_the_caller() -> None:
    async with puck.Node() as node, puck.Node() as other:
        stranger = await other.spawn(puck.Actor)
        for use in (node.pubsub.subscribe, node.pubsub.unsubscribe):
            with pytest.raises(puck.InvalidOption, match="of another"):
                await use("news", stranger)


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit, GeneratorExit])
async def test_whatever_a_dispatcher_raises_the_pubsub_actor_lives(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """S72: it is the broadcaster's code."""

    def fail(*_call: Any) -> None:
        raise error("in the dispatcher")

    async with puck.Node() as node:
        await node.pubsub.subscribe("news", await node.spawn(puck.Actor))
        before = node.whereis_child("pubsub")
        for _ in range(8):
            node.pubsub.broadcast("news", "x", dispatcher=fail)
        await node.pubsub.unsubscribe("news", await node.spawn(puck.Actor))
        assert node.whereis_child("pubsub") is before
    assert "in the dispatcher" in caplog.text
