"""What a start function may hand over, and whose actors a start that fails may end."""

from __future__ import annotations

from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.signals import ExitReason
from puckstream.errors import NameTaken, StartFailed, StartTimeout
from puckstream.node import Node
from puckstream.supervision.child import child
from puckstream.supervision.dynamic import DynamicSupervisor
from puckstream.supervision.supervisor import Supervisor
from puckstream.testing.clock import VirtualClock
from puckstream.testing.gate import Gate


class Idle(Actor):
    """Does nothing."""


class Slow(Actor):
    """Takes as long to start as its gate is shut."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    async def on_start(self) -> None:
        await self.gate.wait()


async def test_a_taken_name_ends_what_the_start_function_has_spawned_and_nobody_else() -> None:
    """S13."""
    spawned: list[Any] = []

    async def start(context: Any) -> Any:
        spawned.append(await context.spawn(Idle))
        return spawned[0]

    async with Node() as node:
        holder, mine = await node.spawn(Idle), await node.spawn(Idle)
        await node.register("n", holder)
        for function in (lambda _context: mine, start):
            with pytest.raises(NameTaken) as raised:
                await node.start_child(child(function, name="n", id="x"))
            assert raised.value.holder is holder
        assert mine.is_alive()
        assert not spawned[0].is_alive()
        spec = child(lambda _context: mine, name="m", id="x", restart="temporary")
        assert await node.start_child(spec) is mine
        assert node.whereis("m") is mine


async def test_an_actor_of_another_node_is_no_child_and_is_left_alone() -> None:
    async with Node() as node, Node() as other:
        stranger = await other.spawn(Idle)
        with pytest.raises(StartFailed, match="an actor of another node"):
            await node.start_child(child(lambda _context: stranger, id="x"))
        assert stranger.is_alive()


async def test_start_timeout_is_for_the_function_and_its_child_together() -> None:
    """S12: what the function has used up, the child does not have."""
    clock, begun, gate = VirtualClock(), Gate(), Gate()

    async def start(context: Any) -> Any:
        await begun.wait()
        context.spawn(Slow, gate)
        return next(iter(ref for ref in context.supervisor._extra.links if ref.actor_class is Slow))

    async with Node(clock=clock) as node:
        starting = node.start_child(child(start, id="slow", start_timeout=5.0))
        await clock.settle()
        clock.advance(4.0)
        begun.open()
        await clock.settle()
        clock.advance(1.0)
        await clock.settle()
        assert starting.done
        with pytest.raises(StartTimeout) as raised:
            await starting
        assert (raised.value.what, raised.value.seconds) == ("slow", 5.0)


class Stays(Supervisor):
    """Does not end with its parent."""

    def on_parent_exit(self, reason: ExitReason) -> bool:
        del reason
        return False


class StaysToo(DynamicSupervisor):
    """Does not end with its parent either."""

    def on_parent_exit(self, reason: ExitReason) -> bool:
        del reason
        return False


@pytest.mark.parametrize("kind", [Stays, StaysToo])
async def test_a_supervisor_that_refuses_to_end_waits_for_starts_again(
    stage: Any, kind: Any
) -> None:
    """The start under way when it was asked to end was given up all the same."""
    async with stage:
        boss, gate = await stage.start(kind), Gate()
        early = boss.start_child(child(Slow, gate, id="early"))
        await stage.turns()
        boss.exit("shutdown")
        with pytest.raises(StartFailed):
            await early
        late = boss.start_child(child(Slow, gate, id="late"))
        await stage.turns()
        assert not late.done
        gate.open()
        assert (await late).is_alive()
