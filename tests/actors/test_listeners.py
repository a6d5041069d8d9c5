"""Listeners of a registry (S64)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.entries import Keys
from puckstream.actors.listeners import Registered, Unregistered
from puckstream.actors.registry import Registry
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import ActorDead, NameTaken, NotInActor
from puckstream.node import Node
from puckstream.supervision.child import child
from puckstream.testing.clock import VirtualClock
from puckstream.testing.probe import Probe


class Owner(Actor):
    """Runs what it is sent."""

    def on_receive(self, message: Any) -> Any:
        return message()


class Listener(Actor):
    """Listens from its start on, and keeps a list of who owns what, as a user's would."""

    def __init__(self, rooms: Registry) -> None:
        super().__init__()
        self.rooms = rooms
        self.known: set[Any] = set()
        self.lost: list[Any] = []

    async def on_start(self) -> None:
        for key, ref, _ in await self.rooms.listen():
            self.enter(key, ref)

    def enter(self, key: Any, ref: Any) -> None:
        self.known.add((key, ref))
        self.monitor(ref)

    def on_receive(self, message: Any) -> Any:
        match message:
            case Registered(_, key, ref, _):
                self.enter(key, ref)
            case Unregistered(_, key, ref):
                self.known.discard((key, ref))
            case "known":
                return self.known, self.lost
            case (_, ref, _):  # a Down
                self.known = {entry for entry in self.known if entry[1] is not ref}
                self.lost.append(ref)
        return None


class ThreadListener(ThreadActor):
    """Listens in a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if message == "got":
            return self.got
        self.got.append(message)
        return None


class Stage:
    """A node with a registry, and a probe on it."""

    def __init__(self, node: Node, rooms: Registry, probe: Probe) -> None:
        self.node, self.rooms, self.probe = node, rooms, probe

    async def owner(self) -> Any:
        return await self.node.spawn(Owner)

    def kill_keeper(self) -> Any:
        keeper: Any = self.node.tree().find("rooms")
        keeper.ref.kill()
        return keeper.ref


Enter = Callable[..., AbstractAsyncContextManager[Stage]]


@pytest.fixture
def stage() -> Enter:
    @asynccontextmanager
    async def enter(keys: Keys = "unique") -> AsyncGenerator[Stage, None]:
        rooms = Registry(keys, name="rooms")
        async with Node([child(*rooms.actor(), id="rooms")], intensity=100) as node:
            yield Stage(node, rooms, await Probe.on(node))

    return enter


async def test_a_listener_is_told_of_registrations_and_their_end(stage: Enter) -> None:
    """S64: {:register, reg, key, pid, value} and {:unregister, reg, key, pid}, in order."""
    async with stage() as here:
        rooms, one, two = here.rooms, await here.owner(), await here.owner()
        await rooms.register("before", one, 1)
        assert await rooms.listen(here.probe.ref) == (("before", one, 1),)
        await rooms.register("a", one, "value")
        await rooms.register("b", two)
        await rooms.unregister("a", one)
        await here.probe.expect(
            Registered(rooms, "a", one, "value"),
            Registered(rooms, "b", two, None),
            Unregistered(rooms, "a", one),
        )


async def test_what_changes_nothing_is_no_news(stage: Enter) -> None:
    """S64: a refusal, an unregister of nothing, a new value."""
    async with stage() as here:
        rooms, one, two = here.rooms, await here.owner(), await here.owner()
        await rooms.register("a", one, 1)
        await rooms.listen(here.probe.ref)
        with pytest.raises(NameTaken):
            await rooms.register("a", two)
        await rooms.unregister("a", two)
        await rooms.unregister("b", one)
        await rooms.update_value("a", str, one)
        await here.probe.no_message()


async def test_the_end_of_an_owner_is_for_monitors_to_tell(stage: Enter) -> None:
    """S64: not sent on owner crash, kill or stop."""
    async with stage() as here:
        rooms = here.rooms
        await rooms.listen(here.probe.ref)
        for end in ("kill", "normal", "crash"):
            one = await here.owner()
            await rooms.register("a", one)
            await here.probe.expect(Registered(rooms, "a", one, None))
            if end == "kill":
                one.kill()
            elif end == "normal":
                await one.stop(block=False)
            else:
                one.tell(lambda: 1 / 0)
            await one.wait_stopped()
            await here.probe.no_message()


async def test_a_duplicate_key_is_left_when_its_last_entry_goes(stage: Enter) -> None:
    """S64: one message for each register, and one for the end of them all."""
    async with stage("duplicate") as here:
        rooms, one = here.rooms, await here.owner()
        await rooms.listen(here.probe.ref)
        for value in (1, 2, 3):
            await rooms.register("a", one, value)
        await rooms.unregister_match("a", 1, one)
        await here.probe.expect(*(Registered(rooms, "a", one, value) for value in (1, 2, 3)))
        await here.probe.no_message()
        await rooms.unregister("a", one)
        await here.probe.expect(Unregistered(rooms, "a", one))
        await rooms.register("a", one, 4)
        await rooms.unregister_match("a", ..., one)
        await here.probe.expect(Registered(rooms, "a", one, 4), Unregistered(rooms, "a", one))


async def test_listening_twice_is_listening_once_and_can_be_given_up(stage: Enter) -> None:
    """S64: what is in the mailbox by then is taken back."""
    async with stage() as here:
        rooms, one = here.rooms, await here.owner()
        await rooms.listen(here.probe.ref)
        await rooms.listen(here.probe.ref)
        rooms.register("a", one)
        await here.probe.expect(Registered(rooms, "a", one, None))
        rooms.register("b", one)
        rooms.unlisten(here.probe.ref)
        rooms.register("c", one)
        await here.probe.no_message()
        await rooms.unlisten(here.probe.ref)


async def test_an_actor_listens_for_itself_and_nobody_else_can(stage: Enter) -> None:
    """S64."""
    async with stage() as here:
        one = await here.owner()
        for use in (here.rooms.listen, here.rooms.unlisten):
            with pytest.raises(NotInActor):
                use()
        assert await one.call(lambda: here.rooms.listen().get()) == ()
        assert list(here.rooms.listeners.refs) == [one]
        await one.call(lambda: here.rooms.unlisten().done)
        assert list(here.rooms.listeners.refs) == []


async def test_the_dead_do_not_listen(stage: Enter) -> None:
    """S64: and are forgotten."""
    async with stage() as here:
        one, two = await here.owner(), await here.owner()
        await here.rooms.listen(one)
        one.kill()
        await VirtualClock.settle()
        assert list(here.rooms.listeners.refs) == []
        with pytest.raises(ActorDead):
            await here.rooms.listen(one)
        await here.rooms.register("a", two)


async def test_an_actor_with_a_thread_listens_too(stage: Enter) -> None:
    """S64."""
    async with stage() as here:
        listener, one = await here.node.spawn(ThreadListener), await here.owner()
        await here.rooms.listen(listener)
        await asyncio.to_thread(lambda: here.rooms.register("a", one).get(timeout=10))
        assert await listener.call("got") == [Registered(here.rooms, "a", one, None)]


async def test_no_news_is_lost_while_the_registry_is_being_restarted(stage: Enter) -> None:
    """S64, S63: killed before, between and after; listeners and entries outlive their actor."""
    async with stage() as here:
        rooms, one = here.rooms, await here.owner()
        await rooms.listen(here.probe.ref)
        for number in range(20):
            dead = here.kill_keeper()
            rooms.register(number, one)
            if number % 2:
                await dead.wait_stopped()
                await VirtualClock.settle()
            rooms.unregister(number, one)
            await here.probe.expect(
                Registered(rooms, number, one, None), Unregistered(rooms, number, one)
            )
        await VirtualClock.settle()
        listener = here.probe.ref
        keeper: Any = here.node.tree().find("rooms")
        assert set(keeper.ref._ensure_extra().watching.values()) == {listener}


async def test_a_listener_that_is_restarted_knows_as_much_as_before(stage: Enter) -> None:
    """S64: the answer to listen is what is there, the messages are what has changed since."""
    async with stage() as here:
        rooms, one, two = here.rooms, await here.owner(), await here.owner()
        await here.node.start_child(child(Listener, rooms, name="listener"))
        rooms.register("a", one)
        rooms.register("b", two)
        first: Any = here.node.whereis("listener")
        assert (await first.call("known"))[0] == {("a", one), ("b", two)}
        first.kill()
        rooms.register("c", one)
        rooms.unregister("a", one)
        second: Any = await here.node.wait_registered("listener")
        await VirtualClock.settle()
        rooms.register("d", two)
        assert (await second.call("known"))[0] == {("b", two), ("c", one), ("d", two)}
        two.kill()
        await VirtualClock.settle()
        assert await second.call("known") == ({("c", one)}, [two, two])
