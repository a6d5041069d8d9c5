"""Actors nobody has stopped are found, and no others."""

from __future__ import annotations

import asyncio

from puckstream.actors import lifecycle
from puckstream.actors.actor import Actor
from puckstream.actors.scheduler import Scheduler
from puckstream.node import Node
from puckstream.testing.leaks import live_actors


class Idle(Actor):
    """Does nothing."""


async def test_a_live_actor_is_found_until_it_has_stopped() -> None:
    async with Node() as node:
        ref = await node.spawn(Idle)
        assert ref in live_actors()
        await ref.stop(block=False)
        assert ref not in live_actors()


async def test_the_actors_of_every_node_are_found_also_of_one_in_another_thread() -> None:
    async with Node() as one:
        other = await asyncio.to_thread(Node().__enter__)
        here, there = await one.spawn(Idle), await other.spawn(Idle)
        assert {here, there} <= set(live_actors())
        await asyncio.to_thread(other.close)
        assert here in live_actors()
        assert there not in live_actors()


async def test_an_engine_that_was_closed_has_no_live_actors() -> None:
    system = Scheduler(asyncio.get_running_loop())
    ref = lifecycle.spawn(system, Idle, (), {})
    assert ref in live_actors()
    await system.close()
    assert not system.actors
    assert ref not in live_actors()
