"""A registry against a plain list of entries: random operations, deaths, and restarts in between.

Covers S61, S62, S63, S64, S67: what is answered depends neither on where an operation comes from
(the loop, an actor, a thread) nor on whether the registry's actor lives.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Literal

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.listeners import Registered, Unregistered
from puckstream.actors.registry import Registry
from puckstream.errors import ActorDead, NameTaken, NotRegistered, PuckstreamError
from puckstream.node import Node
from puckstream.supervision.child import child
from puckstream.testing.clock import VirtualClock
from puckstream.testing.probe import Probe

Place = Literal["loop", "actor", "thread"]
KEYS = ("a", "b", ("pair", 1))
OWNERS = 4
STEPS = 250


class Owner(Actor):
    """Runs what it is sent."""

    ask_errors = "reply"

    async def on_receive(self, message: Any) -> Any:
        return await message()


class Model:
    """What a registry is, without all that makes it fast."""

    def __init__(self, unique: bool) -> None:
        self.unique = unique
        self.entries: list[tuple[Any, Any, Any]] = []
        self.dead: set[Any] = set()
        self.news: list[tuple[Any, ...]] = []

    def of(self, key: Any) -> list[tuple[Any, Any]]:
        return [(ref, value) for other, ref, value in self.entries if other == key]

    def register(self, key: Any, ref: Any, value: Any) -> Any:
        if ref in self.dead:
            return ActorDead
        if self.unique and self.of(key):
            return NameTaken
        self.entries.append((key, ref, value))
        self.news.append(("registered", key, ref, value))
        return None

    def unregister(self, key: Any, ref: Any, unwanted: Callable[[Any], bool]) -> None:
        own = [entry for entry in self.entries if entry[:2] == (key, ref)]
        going = [entry for entry in own if unwanted(entry[2])]
        self.entries = [entry for entry in self.entries if entry not in going]
        if own and len(going) == len(own):
            self.news.append(("unregistered", key, ref))

    def update(self, key: Any, ref: Any) -> Any:
        for number, entry in enumerate(self.entries):
            if entry[:2] == (key, ref):
                self.entries[number] = (key, ref, entry[2] + 1)
                return entry[2] + 1, entry[2]
        return NotRegistered

    def kill(self, ref: Any) -> None:
        self.dead.add(ref)
        self.entries = [entry for entry in self.entries if entry[1] is not ref]


class Play:
    """A registry and its model, and one random step after the other on both."""

    def __init__(self, node: Node, registry: Registry, seed: int, place: Place) -> None:
        self.node, self.registry, self.place = node, registry, place
        self.chance = random.Random(seed)
        self.model = Model(registry.table.keys == "unique")
        self.owners: list[Any] = []

    async def at(self, operation: Callable[[], Any]) -> Any:
        """Run an operation where it is to come from; return its answer, or its error's class."""

        async def run() -> Any:
            return await operation()

        try:
            if self.place == "thread":
                return await asyncio.to_thread(lambda: operation().get(timeout=20))
            if self.place == "actor":
                return await (await self.node.spawn(Owner)).call(run)
            return await run()
        except PuckstreamError as error:
            return next(kind for kind in type(error).__mro__ if kind.__module__.endswith("errors"))

    async def step(self) -> None:
        chance, registry, model = self.chance, self.registry, self.model
        while len(self.owners) < OWNERS:
            self.owners.append(await self.node.spawn(Owner))
        key, ref, value = chance.choice(KEYS), chance.choice(self.owners), chance.randrange(3)
        match chance.choice(
            ("register",) * 4 + ("unregister", "match", "update", "kill", "keeper")
        ):
            case "register":
                answer = await self.at(lambda: registry.register(key, ref, value))
                assert answer == model.register(key, ref, value)
            case "unregister":
                assert await self.at(lambda: registry.unregister(key, ref)) is None
                model.unregister(key, ref, lambda _: True)
            case "match":
                assert await self.at(lambda: registry.unregister_match(key, value, ref)) is None
                model.unregister(key, ref, lambda other: other == value)
            case "update" if model.unique:
                answer = await self.at(lambda: registry.update_value(key, lambda old: old + 1, ref))
                assert answer == model.update(key, ref)
            case "kill":
                ref.kill()
                model.kill(ref)
                if chance.random() < 0.7:
                    self.owners.remove(ref)
            case _:
                keeper: Any = self.node.tree().find("rooms")
                keeper.ref.kill()
                if chance.random() < 0.5:
                    await VirtualClock.settle()
        if chance.random() < 0.3:
            await VirtualClock.settle()

    def compare(self) -> None:
        registry, model = self.registry, self.model
        for key in KEYS:
            assert list(registry.lookup(key)) == model.of(key)
            assert registry.whereis(key) is next((ref for ref, _ in model.of(key)), None)
            assert registry.count_match(key, 1) == [v for _, v in model.of(key)].count(1)
        for ref in self.owners:
            owned = [key for key, owner, _ in model.entries if owner is ref]
            assert list(registry.keys(ref)) == owned
        assert sorted(registry.select(), key=repr) == sorted(model.entries, key=repr)
        assert registry.count() == len(model.entries)


@pytest.mark.parametrize("keys", ["unique", "duplicate"])
@pytest.mark.parametrize("place", ["loop", "actor", "thread"])
@pytest.mark.parametrize("seed", range(3))
async def test_a_registry_does_what_a_list_would(keys: Any, place: Place, seed: int) -> None:
    registry = Registry(keys, name="rooms")
    spec = child(*registry.actor(), id="rooms")
    async with Node([spec], intensity=STEPS) as node:
        probe = await Probe.on(node)
        await registry.listen(probe.ref)
        play = Play(node, registry, seed, place)
        for _ in range(STEPS):
            await play.step()
            play.compare()
        await VirtualClock.settle()
        table = registry.table
        owners = {ref for _, ref, _ in play.model.entries}
        assert set(table.by_owner) == owners
        keeper: Any = node.tree().find("rooms")
        assert set(keeper.ref._ensure_extra().watching.values()) == {*owners, probe.ref}
        assert [as_news(message) for message in probe.messages] == play.model.news


def as_news(message: Any) -> tuple[Any, ...]:
    match message:
        case Registered(_, key, ref, value):
            return ("registered", key, ref, value)
        case Unregistered(_, key, ref):
            return ("unregistered", key, ref)
        case _:
            return (message,)


def test_there_is_nothing_to_partition() -> None:
    """S67: one table, and no option that says otherwise."""
    options: Any = {"partitions": 4}
    with pytest.raises(TypeError):
        Registry(**options)
