"""The registry: who owns a key, how long, and what a restart of its actor changes (nothing)."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Self

import pytest

from puckstream.actors import lifecycle
from puckstream.actors.actor import Actor
from puckstream.actors.entries import Entry
from puckstream.actors.registry import Registry
from puckstream.actors.scheduler import Scheduler
from puckstream.errors import ActorDead, InvalidOption, NameTaken, NodeNotRunning, NotInActor
from puckstream.node import Node
from puckstream.testing.clock import VirtualClock
from puckstream.testing.gate import Gate

Keys = Any


class Owner(Actor):
    """Runs what it is sent."""

    def on_receive(self, message: Any) -> Any:
        return message()


class Lingers(Actor):
    """Takes its time to stop."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    async def on_stop(self) -> None:
        await self.gate.wait()


class Bench:
    """An engine and a registry whose actor can be killed and started again."""

    def __init__(self, keys: Keys = "unique") -> None:
        self.keys: Keys = keys

    async def __aenter__(self) -> Self:
        self.system = Scheduler(asyncio.get_running_loop())
        self.registry = Registry(self.keys, system=self.system)
        self.keeper = self.employ()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.registry.service.close()
        await self.system.close()

    def employ(self) -> Any:
        actor_class, *args = self.registry.actor()
        return lifecycle.spawn(self.system, actor_class, tuple(args), {})

    def owner(self, actor_class: type[Actor] = Owner, *args: Any) -> Any:
        return lifecycle.spawn(self.system, actor_class, args, {})

    @property
    def watched(self) -> set[Any]:
        """Return whom the actor has a monitor on."""
        return set((self.keeper._ensure_extra().watching or {}).values())

    def whereis(self, key: Any) -> Any:
        return self.registry.whereis(key)

    async def tidied(self) -> Any:
        """Let the actor do what it has to, and return the table."""
        await VirtualClock.settle()
        return self.registry.table


# ---------------------------------------------------------------------------------------- unique


async def test_a_unique_key_has_one_owner() -> None:
    """S61, S62."""
    async with Bench() as bench:
        one, two = bench.owner(), bench.owner()
        await bench.registry.register("key", one, "value")
        with pytest.raises(NameTaken) as raised:
            await bench.registry.register("key", two)
        assert (raised.value.name, raised.value.holder) == ("key", one)
        assert bench.whereis("key") is one
        assert bench.registry.lookup("key") == (Entry(one, "value"),)
        assert bench.registry.keys(two) == ()


async def test_a_unique_key_is_refused_to_its_own_owner_too() -> None:
    """S61: already_registered, even for the same pid."""
    async with Bench() as bench:
        one = bench.owner()
        await bench.registry.register("key", one, 1)
        for value in (1, 2):
            with pytest.raises(NameTaken) as raised:
                await bench.registry.register("key", one, value)
            assert raised.value.holder is one
        assert bench.registry.lookup("key") == (Entry(one, 1),)


async def test_an_actor_registers_itself_under_any_number_of_keys() -> None:
    """S61, S62."""
    async with Bench() as bench:
        one = bench.owner()
        for key in ("a", 7, ("pair", 1), None):
            await one.call(lambda key=key: bench.registry.register(key).done)
        assert bench.registry.keys(one) == ("a", 7, ("pair", 1), None)
        assert bench.registry.count() == 4


async def test_nobody_can_be_registered_where_no_actor_calls() -> None:
    """S61."""
    async with Bench() as bench:
        for use in (bench.registry.register, bench.registry.unregister):
            with pytest.raises(NotInActor):
                use("key")


async def test_a_key_is_free_the_moment_its_owner_ends() -> None:
    """S63: before the registry has been told."""
    async with Bench() as bench:
        one, two = bench.owner(), bench.owner()
        await bench.registry.register("key", one)
        one.kill()
        assert bench.whereis("key") is None
        assert bench.registry.lookup("key") == ()
        assert (bench.registry.keys(one), bench.registry.count()) == ((), 0)
        assert bench.registry.register("key", two).done
        assert bench.whereis("key") is two
        table = await bench.tidied()
        assert bench.whereis("key") is two
        assert (list(table.by_owner), bench.watched) == ([two], {two})


async def test_a_key_is_free_when_its_owner_takes_no_more_messages() -> None:
    """S63: whatever it still has to do before it is down."""
    async with Bench() as bench:
        gate = Gate()
        one, two = bench.owner(Lingers, gate), bench.owner()
        await bench.registry.register("key", one)
        stopped = one.stop(block=False)
        await VirtualClock.settle()
        assert one.state == "stopping"
        await bench.registry.register("key", two)
        gate.open()
        await stopped
        await bench.tidied()
        assert bench.whereis("key") is two


async def test_the_entries_of_the_dead_are_forgotten() -> None:
    """S63."""
    async with Bench() as bench:
        owners = [bench.owner() for _ in range(100)]
        for number, owner in enumerate(owners):
            await bench.registry.register(number, owner)
            await bench.registry.register(("again", number), owner)
        for owner in owners:
            owner.exit()
        await asyncio.gather(*(wait(owner) for owner in owners))
        table = await bench.tidied()
        assert (table.by_key, table.by_owner) == ({}, {})
        assert bench.watched == set()


async def wait(ref: Any) -> None:
    await ref.wait_stopped()


async def test_the_dead_own_nothing() -> None:
    """S63."""
    async with Bench() as bench:
        one = bench.owner()
        one.kill()
        with pytest.raises(ActorDead):
            await bench.registry.register("key", one)
        assert bench.registry.count() == 0


async def test_unregistering_frees_the_key_and_the_watch() -> None:
    """S62: only one's own key; nothing happens if it is not there."""
    async with Bench() as bench:
        one, two = bench.owner(), bench.owner()
        await bench.registry.register("a", one)
        await bench.registry.register("b", one)
        await bench.registry.unregister("a", two)
        await bench.registry.unregister("never", one)
        assert bench.whereis("a") is one
        await one.call(lambda: bench.registry.unregister("a").done)
        assert (bench.whereis("a"), bench.registry.keys(one)) == (None, ("b",))
        await bench.tidied()
        assert bench.watched == {one}
        await bench.registry.unregister("b", one)
        await bench.tidied()
        assert bench.watched == set()


async def test_what_cannot_be_a_key_is_refused_in_the_caller_and_hurts_nobody() -> None:
    """S61, S62."""
    wrong: Any = []
    async with Bench() as bench:
        registry, one = bench.registry, bench.owner()
        for use in (
            lambda: registry.register(wrong, one),
            lambda: registry.unregister(wrong, one),
            lambda: registry.lookup(wrong),
            lambda: registry.whereis(wrong),
            lambda: registry.wait_registered(wrong),
            lambda: registry.values(wrong, one),
            lambda: registry.match(wrong, 1),
            lambda: registry.dispatch(wrong, print),
            lambda: registry.lock(wrong),
            lambda: registry.via(wrong),
            lambda: registry.meta(wrong),
            lambda: registry.put_meta(wrong, 1),
        ):
            with pytest.raises(InvalidOption, match=r"key=\[\]"):
                use()
        assert bench.keeper.is_alive()


async def test_only_actors_of_its_own_node_register() -> None:
    """S61."""
    wrong: Any = "an owner"
    async with Bench() as bench, Bench() as other:
        for ref in (other.owner(), wrong):
            for use in (
                lambda ref=ref: bench.registry.register("key", ref),
                lambda ref=ref: bench.registry.unregister("key", ref),
                lambda ref=ref: bench.registry.listen(ref),
            ):
                with pytest.raises(InvalidOption, match="ref="):
                    use()
        assert bench.registry.count() == 0


def test_there_are_unique_and_duplicate_keys_and_no_others() -> None:
    """S61."""
    wrong: Any = "several"
    with pytest.raises(InvalidOption, match="'unique' or 'duplicate'"):
        Registry(wrong)


# ------------------------------------------------------------------------------------- duplicate


async def test_a_duplicate_key_has_any_number_of_owners_in_order() -> None:
    """S61, S62."""
    async with Bench("duplicate") as bench:
        owners = [bench.owner() for _ in range(3)]
        for number, owner in enumerate(owners):
            await bench.registry.register("key", owner, number)
        assert bench.registry.lookup("key") == tuple(
            Entry(owner, number) for number, owner in enumerate(owners)
        )
        assert bench.whereis("key") is owners[0]
        owners[0].kill()
        assert [entry.value for entry in bench.registry.lookup("key")] == [1, 2]
        assert bench.whereis("key") is owners[1]
        await bench.registry.unregister("key", owners[1])
        assert [entry.ref for entry in bench.registry.lookup("key")] == [owners[2]]
        assert bench.registry.count() == 1


async def test_each_registration_of_a_duplicate_key_is_an_entry_of_its_own() -> None:
    """S61, S62: unregister drops all of one's entries under the key, and no other."""
    async with Bench("duplicate") as bench:
        one, two = bench.owner(), bench.owner()
        for key, ref, value in (("a", one, 1), ("a", two, 2), ("a", one, 1), ("b", one, 3)):
            await bench.registry.register(key, ref, value)
        assert bench.registry.lookup("a") == ((one, 1), (two, 2), (one, 1))
        assert bench.registry.keys(one) == ("a", "a", "b")
        assert bench.registry.values("a", one) == (1, 1)
        assert bench.registry.count() == 4
        await bench.registry.unregister("a", one)
        assert bench.registry.lookup("a") == ((two, 2),)
        assert bench.registry.keys(one) == ("b",)
        one.kill()
        table = await bench.tidied()
        assert (list(table.by_key), list(table.by_owner)) == (["a"], [two])


async def test_ten_thousand_owners_of_a_key_leave_it_in_linear_time() -> None:
    """S62, S67: and so does an owner of ten thousand keys."""
    many = 10_000
    async with Bench("duplicate") as bench:
        owners = [bench.owner() for _ in range(many)]
        for number, owner in enumerate(owners):
            bench.registry.register("key", owner)
            bench.registry.register(number, owners[0])
        assert bench.registry.count() == 2 * many
        for number, owner in enumerate(owners):
            bench.registry.unregister("key", owner)
            bench.registry.unregister(number, owners[0])
        assert bench.registry.table.by_key == {}


# --------------------------------------------------------------------------------------- restart


async def test_a_restart_of_its_actor_loses_no_entry_and_no_watch() -> None:
    """S63: those who died in between are cleared up."""
    async with Bench() as bench:
        one, two, three = (bench.owner() for _ in range(3))
        for key, owner in (("one", one), ("two", two)):
            await bench.registry.register(key, owner)
        await bench.tidied()
        bench.keeper.kill()
        one.kill()
        assert bench.whereis("two") is two
        await bench.registry.register("three", three)
        await bench.registry.unregister("two", two)
        bench.keeper = bench.employ()
        table = await bench.tidied()
        assert list(table.by_key) == ["three"]
        assert bench.watched == {three}
        three.kill()
        await bench.tidied()
        assert table.by_key == {}


async def test_what_its_actor_had_not_got_to_is_done_by_the_next() -> None:
    """S63."""
    async with Bench() as bench:
        one = bench.owner()
        waiting = bench.registry.wait_registered("key")
        bench.registry.register("key", one)
        # The watch and the announcement die in its mailbox.
        bench.keeper.kill()
        assert not waiting.done
        bench.keeper = bench.employ()
        assert await waiting is one
        await bench.tidied()
        assert bench.watched == {one}


async def test_a_node_restarts_its_registry_with_everything_in_it() -> None:
    """S63."""
    async with Node() as node:
        owner = await node.spawn(Owner)
        await node.registry.register("key", owner)
        for _ in range(2):
            keeper = node.whereis_child("registry")
            assert keeper is not None
            keeper.kill()
            await keeper.wait_stopped()
            assert node.whereis("key") is owner
        owner.kill()
        other = await node.spawn(Owner)
        await node.registry.register("key", other)
        assert node.whereis("key") is other


# --------------------------------------------------------------------------------------- waiting


async def test_one_can_wait_for_a_key() -> None:
    async with Bench() as bench:
        waiting = [bench.registry.wait_registered("key") for _ in range(2)]
        other = bench.registry.wait_registered("other")
        one = bench.owner()
        await bench.registry.register("key", one)
        assert [await reply for reply in waiting] == [one, one]
        assert await bench.registry.wait_registered("key") is one
        assert not other.done
        assert list(bench.registry.waiting) == ["other"]


async def test_an_owner_that_died_at_once_is_not_what_one_waits_for() -> None:
    async with Bench() as bench:
        waiting = bench.registry.wait_registered("key")
        one, two = bench.owner(), bench.owner()
        bench.registry.register("key", one)
        one.kill()
        await bench.tidied()
        assert not waiting.done
        bench.registry.register("key", two)
        assert await waiting is two


async def test_who_waits_when_the_node_shuts_down_is_told_so() -> None:
    async with Node() as node:
        waiting = node.registry.wait_registered("key")
        registry = node.registry
    for reply in (waiting, registry.wait_registered("key")):
        with pytest.raises(NodeNotRunning):
            await reply


# ----------------------------------------------------------------------------------- concurrency


async def test_of_many_threads_that_want_a_key_one_gets_it() -> None:
    """S61."""
    async with Bench() as bench:
        owners = [bench.owner() for _ in range(4)]
        together = threading.Barrier(len(owners))

        def contend(owner: Any) -> list[bool]:
            together.wait()
            won: list[bool] = []
            for key in range(50):
                try:
                    bench.registry.register(key, owner).get(timeout=10.0)
                except NameTaken:
                    won.append(False)
                else:
                    won.append(True)
            return won

        results = await asyncio.gather(*(asyncio.to_thread(contend, owner) for owner in owners))
        assert [sum(column) for column in zip(*results, strict=True)] == [1] * 50
        assert bench.registry.count() == 50


async def test_threads_may_read_while_owners_come_and_go() -> None:
    """S63: a thread sees an owner or nobody, and no error."""
    async with Bench("duplicate") as bench:
        over = threading.Event()

        def read() -> int:
            rounds = 0
            while not over.is_set():
                bench.registry.lookup("key")
                bench.whereis("key")
                bench.registry.count()
                rounds += 1
            return rounds

        reading = [asyncio.ensure_future(asyncio.to_thread(read)) for _ in range(2)]
        try:
            for _ in range(200):
                owner = bench.owner()
                await bench.registry.register("key", owner)
                await bench.registry.register(owner.id, owner)
                owner.kill()
                await asyncio.sleep(0)
        finally:
            over.set()
        assert all(await asyncio.gather(*reading))
