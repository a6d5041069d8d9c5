"""Groups against plain counters: random joins, leaves, deaths, news of another node, restarts.

Covers S75.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.groups import GroupChange, Groups
from puckstream.errors import ActorDead, NotJoined
from puckstream.node import Node
from puckstream.supervision.child import child
from puckstream.testing.clock import VirtualClock
from puckstream.testing.probe import Probe

GROUPS = ("g", "h", ("pair", 1))
STEPS = 300

Count = Counter[tuple[Any, Any]]  # of group and member


class Member(Actor):
    """Does nothing."""


class Play:
    """A scope, its model, and one random step after the other on both."""

    def __init__(self, node: Node, other: Node, groups: Groups, seed: int) -> None:
        self.node, self.other, self.groups = node, other, groups
        self.chance = random.Random(seed)
        self.local, self.remote = Count(), Count()
        self.members: list[Any] = []
        self.strangers: list[Any] = []

    async def step(self) -> None:
        chance = self.chance
        while len(self.members) < 3:
            self.members.append(await self.node.spawn(Member))
        while len(self.strangers) < 3:
            self.strangers.append(await self.other.spawn(Member))
        group, member = chance.choice(GROUPS), chance.choice(self.members)
        times = chance.randrange(1, 4)
        match chance.randrange(10):
            case 0 | 1 | 2 | 3:
                await self.join(group, member, times)
            case 4 | 5:
                await self.leave(group, member, times)
            case 6:
                member.kill()
                self.local = Count({it: n for it, n in self.local.items() if it[1] is not member})
                if chance.random() < 0.7:
                    self.members.remove(member)
            case 7:
                self.hear_of(group, chance.choice(self.strangers), times)
            case 8:
                self.synchronise()
            case _:
                keeper: Any = self.node.tree().find("scope")
                keeper.ref.kill()
        if chance.random() < 0.4:
            await VirtualClock.settle()

    async def join(self, group: Any, member: Any, times: int) -> None:
        if member.is_alive():
            await self.groups.join(group, *[member] * times)
            self.local[group, member] += times
        else:
            with pytest.raises(ActorDead):
                await self.groups.join(group, *[member] * times)

    async def leave(self, group: Any, member: Any, times: int) -> None:
        try:
            await self.groups.leave(group, *[member] * times)
        except NotJoined:
            assert not self.local[group, member]
        else:
            # One that has just died may be in the table still.
            assert self.local[group, member] or not member.is_alive()
        self.local -= Count({(group, member): times})

    def hear_of(self, group: Any, stranger: Any, times: int) -> None:
        change = Count({(group, stranger): times})
        if self.chance.random() < 0.6:
            self.groups.merge_join("other", group, (stranger,) * times)
            self.remote += change
        else:
            self.groups.merge_leave("other", group, (stranger,) * times)
            self.remote -= change

    def synchronise(self) -> None:
        self.remote = Count()
        if self.chance.random() < 0.8:
            for group in self.chance.sample(GROUPS, 2):
                self.remote[group, self.chance.choice(self.strangers)] += 2
        news: dict[Any, list[Any]] = {}
        for (group, stranger), times in self.remote.items():
            news.setdefault(group, []).extend([stranger] * times)
        self.groups.sync("other", news)

    def compare(self) -> None:
        everybody = +(self.local + self.remote)
        for group in GROUPS:
            expected = Counter({ref: n for (other, ref), n in everybody.items() if other == group})
            assert Counter(self.groups.get_members(group)) == expected
        assert set(self.groups.which_groups()) == {group for group, _ in everybody}
        assert set(self.groups.which_local_groups()) == {group for group, _ in +self.local}


@pytest.mark.parametrize("seed", range(8))
async def test_groups_do_what_counters_would(seed: int) -> None:
    """And the messages of a monitor, from what it was answered on, add up to the same."""
    groups = Groups("scope")
    spec = child(*groups.actor(), id="scope")
    async with Node([spec], intensity=STEPS) as node, Node() as other:
        probe = await Probe.on(node)
        play = Play(node, other, groups, seed)
        for _ in range(STEPS // 3):
            await play.step()
        await VirtualClock.settle()
        number, present = await groups.monitor_scope(probe.ref)
        known = Count((group, ref) for group, refs in present.items() for ref in refs)
        for _ in range(STEPS):
            await play.step()
            play.compare()
        await VirtualClock.settle()
        for message in probe.messages:
            assert isinstance(message, GroupChange)
            assert message.monitor == number
            change = Count((message.group, ref) for ref in message.refs)
            if message.change == "join":
                known += change
            else:
                assert change <= known, "left without being there"
                known -= change
        assert known == +(play.local + play.remote)
