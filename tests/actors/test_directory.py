"""Reading a registry, and changing what is read: patterns, values, metadata, dispatch (S62)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.entries import Entry, Keys, Registration
from puckstream.actors.registry import Registry
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import InvalidOption, NotInActor, NotRegistered
from puckstream.node import Node
from puckstream.supervision.child import child


class Owner(Actor):
    """Runs what it is sent."""

    def on_receive(self, message: Any) -> Any:
        return message()


class ThreadOwner(ThreadActor):
    """The same in a thread."""

    def on_receive(self, message: Any) -> Any:
        return message()


class Rooms:
    """A node with a registry of its own, as a user makes one."""

    def __init__(self, node: Node, registry: Registry) -> None:
        self.node, self.registry = node, registry

    async def owner(self, key: Any = None, *values: Any) -> Any:
        ref = await self.node.spawn(Owner)
        for value in values:
            await self.registry.register(key, ref, value)
        return ref


Stage = Callable[..., AbstractAsyncContextManager[Rooms]]


@pytest.fixture
def rooms() -> Stage:
    @asynccontextmanager
    async def enter(keys: Keys = "duplicate") -> AsyncGenerator[Rooms, None]:
        registry = Registry(keys, name="rooms")
        async with Node([child(*registry.actor(), id="rooms")]) as node:
            yield Rooms(node, registry)

    return enter


# ------------------------------------------------------------------------------------- patterns


async def test_entries_are_matched_by_the_shape_of_their_value(rooms: Stage) -> None:
    """S62: match, count_match."""
    async with rooms() as here:
        registry = here.registry
        one = await here.owner("k", ("user", 1), ("bot", 2))
        two = await here.owner("k", ("user", 3))
        await here.owner("other", ("user", 1))
        assert registry.match("k", ("user", ...)) == (
            Entry(one, ("user", 1)),
            Entry(two, ("user", 3)),
        )
        assert registry.match("k", ("bot", 2)) == (Entry(one, ("bot", 2)),)
        assert registry.match("k", ...) == registry.lookup("k")
        assert registry.match("k", "user") == registry.match("nobody", ...) == ()
        assert registry.count_match("k", ("user", ...)) == 2
        assert registry.count_match("nobody", ...) == 0


async def test_a_condition_is_asked_only_of_what_fits(rooms: Stage) -> None:
    """S62: guards."""
    async with rooms() as here:
        one = await here.owner("k", ("user", 1), ("user", 5), "no tuple")
        found = here.registry.match("k", ("user", ...), where=lambda value: value[1] > 2)
        assert found == ((one, ("user", 5)),)
        assert here.registry.count_match("k", ..., where=lambda value: value == "no tuple") == 1


async def test_what_a_condition_raises_reaches_its_caller(rooms: Stage) -> None:
    """S62."""

    def fails(_value: Any) -> bool:
        raise LookupError("the condition")

    async with rooms() as here:
        registry = here.registry
        one = await here.owner("k", 1)
        with pytest.raises(LookupError, match="the condition"):
            registry.match("k", 1, where=fails)
        with pytest.raises(LookupError, match="the condition"):
            await registry.unregister_match("k", 1, one, where=fails)
        assert registry.values("k", one) == (1,)


async def test_entries_of_all_keys_are_selected(rooms: Stage) -> None:
    """S62: select, by key, owner and value."""
    async with rooms() as here:
        registry = here.registry
        one = await here.owner(("room", 1), "a")
        two = await here.owner(("room", 2), "b")
        await registry.register("hall", one, "a")
        assert registry.select() == (
            Registration(("room", 1), one, "a"),
            Registration(("room", 2), two, "b"),
            Registration("hall", one, "a"),
        )
        assert [key for key, _, _ in registry.select((("room", ...), ..., ...))] == [
            ("room", 1),
            ("room", 2),
        ]
        assert [found.key for found in registry.select((..., one, "a"))] == [("room", 1), "hall"]
        assert [found.ref for found in registry.select(where=lambda it: it.value > "a")] == [two]


async def test_the_dead_are_neither_matched_nor_selected_nor_counted(rooms: Stage) -> None:
    """S62, S63: at once, before the registry has been told."""
    async with rooms() as here:
        registry = here.registry
        one = await here.owner("k", 1)
        one.kill()
        assert registry.match("k", ...) == registry.select() == registry.values("k", one) == ()
        assert registry.count_match("k", ...) == registry.count() == 0
        assert registry.dispatch("k", len) is None


async def test_values_are_those_of_one_owner_in_order(rooms: Stage) -> None:
    """S62."""
    async with rooms() as here:
        one, two = await here.owner("k", 3, 1, 2), await here.owner("k", 9)
        assert here.registry.values("k", one) == (3, 1, 2)
        assert here.registry.values("k", two) == (9,)
        assert here.registry.values("other", two) == ()


async def test_one_leaves_a_key_with_the_values_that_fit(rooms: Stage) -> None:
    """S62: unregister_match, of one's own entries only."""
    async with rooms() as here:
        registry = here.registry
        one = await here.owner("k", ("user", 1), ("user", 2), "bot")
        two = await here.owner("k", ("user", 1))
        await one.call(lambda: registry.unregister_match("k", ("user", 1)).done)
        assert registry.lookup("k") == ((one, ("user", 2)), (one, "bot"), (two, ("user", 1)))
        await registry.unregister_match("k", ("user", ...), one, where=lambda value: value[1] > 5)
        assert registry.count_match("k", ...) == 3
        await registry.unregister_match("k", ..., one)
        assert registry.lookup("k") == ((two, ("user", 1)),)
        with pytest.raises(NotInActor):
            registry.unregister_match("k", ...)


# --------------------------------------------------------------------------------------- values


async def test_an_owner_updates_its_value(rooms: Stage) -> None:
    """S62: update_value answers with the new value and the old one."""
    async with rooms("unique") as here:
        registry = here.registry
        one = await here.owner("k", 1)
        assert await registry.update_value("k", lambda value: value + 1, one) == (2, 1)
        assert await one.call(lambda: registry.update_value("k", str).get()) == ("2", 2)
        assert registry.values("k", one) == ("2",)
        assert registry.whereis("k") is one


async def test_only_ones_own_value_can_be_updated(rooms: Stage) -> None:
    """S62: else an error; the function is not called."""
    async with rooms("unique") as here:
        registry = here.registry
        one, two = await here.owner("k", 1), await here.owner()
        for key, ref in (("k", two), ("other", one)):
            with pytest.raises(NotRegistered) as raised:
                await registry.update_value(key, pytest.fail, ref)
            assert (raised.value.key, raised.value.ref) == (key, ref)
        one.kill()
        with pytest.raises(NotRegistered):
            await registry.update_value("k", pytest.fail, one)


async def test_values_of_duplicate_keys_cannot_be_updated(rooms: Stage) -> None:
    """S62: unique only."""
    async with rooms() as here:
        one = await here.owner("k", 1)
        with pytest.raises(InvalidOption, match="unique"):
            here.registry.update_value("k", str, one)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit("no")])
async def test_an_update_that_raises_changes_nothing_and_harms_nobody(
    rooms: Stage, error: BaseException
) -> None:
    """S62: whatever it raises, and from wherever."""

    def fails(_value: Any) -> Any:
        raise error

    async with rooms("unique") as here:
        registry = here.registry
        one = await here.owner("k", 1)
        with pytest.raises(type(error)):
            await registry.update_value("k", fails, one)

        def elsewhere() -> None:
            with pytest.raises(type(error)):
                registry.update_value("k", fails, one).get(timeout=10)

        await asyncio.to_thread(elsewhere)
        assert registry.values("k", one) == (1,)


async def test_an_update_that_takes_its_own_key_away_is_refused(rooms: Stage) -> None:
    """S62."""
    async with rooms("unique") as here:
        registry = here.registry
        one = await here.owner("k", 1)
        with pytest.raises(NotRegistered):
            await registry.update_value("k", lambda _: registry.unregister("k", one), one)
        assert registry.whereis("k") is None


async def test_no_update_is_lost_between_threads(rooms: Stage) -> None:
    """S62, S67."""
    async with rooms("unique") as here:
        registry = here.registry
        one = await here.owner("k", 0)
        together = threading.Barrier(4)

        def count() -> None:
            together.wait()
            for _ in range(50):
                registry.update_value("k", lambda value: value + 1, one).get(timeout=10)

        await asyncio.gather(*(asyncio.to_thread(count) for _ in range(4)))
        assert registry.values("k", one) == (200,)


# ------------------------------------------------------------------------- dispatch, metadata


async def test_dispatch_runs_in_its_caller(rooms: Stage) -> None:
    """S62: with all entries at once; its result and its error are the caller's."""
    async with rooms() as here:
        registry = here.registry
        one = await here.owner("k", 1, 2)
        assert registry.dispatch("k", list) == [(one, 1), (one, 2)]
        where = await asyncio.to_thread(
            lambda: (threading.get_ident(), registry.dispatch("k", lambda _: threading.get_ident()))
        )
        assert where[0] == where[1]
        with pytest.raises(ZeroDivisionError):
            registry.dispatch("k", lambda entries: len(entries) / 0)


async def test_dispatch_to_nobody_calls_nothing(rooms: Stage) -> None:
    """S62."""
    async with rooms() as here:
        called: list[Any] = []
        here.registry.dispatch("k", called.append)
        assert called == []


async def test_a_registry_has_data_of_its_own(rooms: Stage) -> None:
    """S62: meta, put_meta; it outlives the registry's actor."""
    async with rooms() as here:
        registry = here.registry
        assert (registry.meta("topic"), registry.meta("topic", 5)) == (None, 5)
        registry.put_meta("topic", "weather")
        await asyncio.to_thread(registry.put_meta, ("a", "tuple"), 2)
        keeper: Any = here.node.tree().find("rooms")
        keeper.ref.kill()
        await keeper.ref.wait_stopped()
        assert (registry.meta("topic"), registry.meta(("a", "tuple"))) == ("weather", 2)
        assert registry.count() == 0


async def test_an_actor_with_a_thread_uses_it_all(rooms: Stage) -> None:
    """S61, S62."""
    async with rooms("unique") as here:
        registry = here.registry
        ref = await here.node.spawn(ThreadOwner)

        def work() -> Any:
            registry.register("k", value=1).get(timeout=10)
            registry.update_value("k", lambda value: value + 1).get(timeout=10)
            seen = registry.values("k", ref)
            registry.unregister("k").get(timeout=10)
            return seen, registry.keys(ref)

        assert await ref.call(work) == ((2,), ())
