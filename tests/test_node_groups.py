"""The groups of a node, as its users meet them: from anywhere, over crashes, to the end (S75)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import puckstream as puck
from puckstream.testing.clock import VirtualClock
from puckstream.testing.probe import Probe


class Member(puck.Actor):
    """Joins a group when it starts, each time it does."""

    def __init__(self, group: str) -> None:
        super().__init__()
        self.group = group

    async def on_start(self) -> None:
        await self.node.groups.join(self.group)

    def on_receive(self, message: Any) -> Any:
        match message:
            case "crash":
                raise RuntimeError("told to crash")
            case "leave":
                return self.node.groups.leave(self.group).get()
            case _:
                return message


class ThreadMember(puck.ThreadActor):
    """The same in a thread."""

    def on_receive(self, message: Any) -> Any:
        if not isinstance(message, str):
            return None
        self.node.groups.join(message).get(timeout=10)
        self.node.groups.join(message).get(timeout=10)
        self.node.groups.leave(message).get(timeout=10)
        return len(self.node.groups.get_members(message))


class Room(puck.Actor):
    """Passes on what it is told to everybody in the group, and keeps count of them."""

    def __init__(self, group: str) -> None:
        super().__init__()
        self.group = group
        self.members = 0

    async def on_start(self) -> None:
        _, members = await self.node.groups.monitor(self.group)
        self.members = len(members)

    def on_receive(self, message: Any) -> Any:
        match message:
            case puck.GroupChange(_, "join", _, refs):
                self.members += len(refs)
            case puck.GroupChange(_, "leave", _, refs):
                self.members -= len(refs)
            case "members":
                return self.members
            case _:
                return None
        return None


def keeper(node: puck.Node, child_id: str = "groups") -> Any:
    found: Any = node.tree().find(child_id)
    return found.ref


async def test_a_node_has_groups() -> None:
    """S75."""
    async with puck.Node() as node:
        one = await node.spawn(Member, "g")
        two = await node.spawn(Member, "g")
        assert node.groups.get_members("g") == (one, two)
        await one.call("leave")
        assert node.groups.get_members("g") == (two,)
        with pytest.raises(puck.NotJoined, match="'g'") as raised:
            await one.call("leave")
        assert (raised.value.group, raised.value.refs) == ("g", (one,))
        two.kill()
        assert node.groups.get_members("g") == node.groups.which_groups() == ()


async def test_a_restarted_member_is_one_member() -> None:
    """S75: the dead one has left before the next joins."""
    spec = puck.child(Member, "g", id="member", name="member")
    async with puck.Node([spec]) as node:
        for _ in range(3):
            member = node.whereis("member")
            assert member is not None
            assert node.groups.get_members("g") == (member,)
            member.tell("crash")
            await member.wait_stopped()
            await node.wait_registered("member")
            await VirtualClock.settle()


async def test_threads_and_their_actors_join_too() -> None:
    """S75."""
    async with puck.Node() as node:
        one = await node.spawn(ThreadMember)
        assert await one.call("g") == 1

        def elsewhere() -> Any:
            number, members = node.groups.monitor("g", one).get(timeout=10)
            node.groups.join("g", one).get(timeout=10)
            everything = node.groups.monitor_scope(one).get(timeout=10)
            return members, everything[1], node.groups.demonitor(number).get(timeout=10)

        assert await asyncio.to_thread(elsewhere) == ((one,), {"g": (one, one)}, True)


def test_the_groups_of_a_node_with_a_thread() -> None:
    """S75."""
    with puck.Node() as node:
        one = node.spawn(Member, "g").get()
        assert node.groups.get_local_members("g") == (one,)
        one.ask("leave")
        assert node.groups.which_local_groups() == ()


async def test_groups_and_their_monitors_outlive_their_actor_at_every_step() -> None:
    """S75: killed before, between and behind joins, leaves, deaths: nothing is lost or doubled."""
    scope = puck.Groups("mine")
    spec = puck.child(*scope.actor(), id="mine")
    async with puck.Node([spec], intensity=100) as node:
        probe = await Probe.on(node)
        number, _ = await scope.monitor_scope(probe.ref)
        for _ in range(5):
            one, two = await node.spawn(Room, "none"), await node.spawn(Room, "none")
            await scope.join("g", one)
            await scope.join("h", two)
            keeper(node, "mine").kill()
            await scope.join("g", two, two)
            await VirtualClock.settle()
            keeper(node, "mine").kill()
            await scope.leave("g", two)
            two.kill()
            assert scope.get_members("g") == (one,)
            assert scope.which_groups() == ("g",)
            await VirtualClock.settle()
            keeper(node, "mine").kill()
            one.kill()
            await VirtualClock.settle()
            changes = [(each.change, each.group, each.refs) for each in probe.messages]
            assert changes[:4] == [
                ("join", "g", (one,)),
                ("join", "h", (two,)),
                ("join", "g", (two, two)),
                ("leave", "g", (two,)),
            ]
            assert sorted(changes[4:], key=str) == sorted(
                [("leave", "h", (two,)), ("leave", "g", (two,)), ("leave", "g", (one,))], key=str
            )
            for _ in changes:
                assert (await probe.receive(puck.GroupChange)).monitor == number
            assert set(keeper(node, "mine")._ensure_extra().watching.values()) == {probe.ref}


async def test_a_monitor_that_is_restarted_counts_right() -> None:
    """S75: what monitor answers and what is told afterwards fit together without a gap."""
    async with puck.Node([puck.child(Room, "g", name="room")]) as node:
        first = node.whereis("room")
        assert first is not None
        members = [await node.spawn(Member, "g") for _ in range(5)]
        assert await first.call("members") == 5
        members[0].kill()
        first.kill()
        members[1].kill()
        second = await node.wait_registered("room")
        await node.groups.join("g", members[4])
        await VirtualClock.settle()
        # Of those dead when it came nobody is counted.
        assert await second.call("members") == 4 == len(node.groups.get_members("g"))


async def test_scopes_of_ones_own_are_children_and_independent() -> None:
    """S75."""
    rooms, teams = puck.Groups("rooms"), puck.Groups("teams")
    specs = [puck.child(*scope.actor(), id=scope.scope) for scope in (rooms, teams)]
    async with puck.Node(specs) as node:
        one = await node.spawn(Member, "g")
        await rooms.join("g", one, one)
        await teams.join("h", one)
        assert (rooms.which_groups(), teams.which_groups()) == (("g",), ("h",))
        assert len(node.groups.get_members("g")) == 1
        keeper(node, "rooms").kill()
        one.kill()
        await VirtualClock.settle()
        assert rooms.which_groups() == teams.which_groups() == ()
        assert rooms._table.local.by_ref == teams._table.local.by_ref == {}


async def test_what_cannot_be_is_refused_by_name() -> None:
    """S75: a scope that was not started, actors of other nodes, what is no actor."""
    rooms, wrong = puck.Groups("rooms"), "no ref"
    async with puck.Node() as node, puck.Node() as other:
        one, stranger = await node.spawn(Member, "g"), await other.spawn(Member, "g")
        for use in (rooms.join, rooms.leave, rooms.monitor):
            with pytest.raises(puck.NodeNotRunning, match=r"'rooms'.*has not been started"):
                use("g", one)
        for ref in (stranger, wrong):
            for call in (node.groups.join, node.groups.leave, node.groups.monitor):
                with pytest.raises(puck.InvalidOption, match="ref="):
                    call("g", ref)  # type: ignore[arg-type]
        assert node.groups.get_members("g") == (one,)


async def test_groups_end_with_their_node() -> None:
    """S75: nobody is left in them."""
    async with puck.Node([puck.child(Member, "g", id="member")]) as node:
        assert len(node.groups.get_members("g")) == 1
    assert node.groups.get_members("g") == ()
    assert not any(ref.is_alive() for ref in node.groups._table.local.by_ref)
