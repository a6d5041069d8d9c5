"""Keys as addresses (S65), and registries that cannot be used (S65: unknown registry)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.mailbox import Bound
from puckstream.actors.registry import Registry
from puckstream.actors.via import Via
from puckstream.errors import (
    ActorDead,
    CallTimeout,
    InvalidOption,
    MailboxFull,
    NameNotFound,
    NameTaken,
    NodeNotRunning,
    StartFailed,
)
from puckstream.node import Node
from puckstream.supervision.child import child
from puckstream.testing.clock import VirtualClock


class Echo(Actor):
    """Answers with what it was asked; keeps what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        match message:
            case "told":
                return self.told
            case "wait":
                return asyncio.Event().wait()
            case BaseException():
                raise message
            case _:
                self.told.append(message)
                return message


class Busy(Actor):
    """Is never done with its first message, and has room for one more."""

    mailbox = Bound(1, "refuse")

    async def on_receive(self, message: Any) -> None:
        await asyncio.Event().wait()


class Stage:
    """A node with a registry of its own, on a clock of the test's."""

    def __init__(self, node: Node, rooms: Registry, clock: VirtualClock) -> None:
        self.node, self.rooms, self.clock = node, rooms, clock


Enter = Callable[[], AbstractAsyncContextManager[Stage]]


@pytest.fixture
def stage() -> Enter:
    @asynccontextmanager
    async def enter() -> AsyncGenerator[Stage, None]:
        rooms = Registry(name="rooms")
        clock = VirtualClock()
        async with Node([child(*rooms.actor(), id="rooms")], clock=clock) as node:
            yield Stage(node, rooms, clock)

    return enter


async def test_who_owns_the_key_gets_what_is_sent_to_it(stage: Enter) -> None:
    """S65: call, cast, whereis."""
    async with stage() as here:
        lobby = here.rooms.via("lobby")
        ref = await here.node.spawn(Echo)
        await here.rooms.register("lobby", ref)
        assert lobby.whereis() is ref
        lobby.tell("hello")
        assert await lobby.call("told") == ["hello"]

        def elsewhere() -> Any:
            lobby.tell("from a thread")
            return lobby.ask("told", timeout=10), lobby.call("told").get(timeout=10)

        assert await asyncio.to_thread(elsewhere) == (["hello", "from a thread"],) * 2
        with pytest.raises(ValueError, match="the handler's"):
            await lobby.call(ValueError("the handler's"))


async def test_a_child_is_registered_by_an_address_and_so_is_its_successor(stage: Enter) -> None:
    """S65: works for start name, with the value that goes with it."""
    async with stage() as here:
        lobby = here.rooms.via("lobby", "a value")
        first = await here.node.start_child(child(Echo, name=lobby))
        assert here.rooms.lookup("lobby") == ((first, "a value"),)
        assert here.node.whereis(lobby) is first
        assert here.node.whereis("lobby") is None
        first.kill()
        assert lobby.whereis() is None
        second = await here.node.wait_registered(lobby)
        assert second is not first
        assert await lobby.call("still here") == "still here"
        assert here.rooms.lookup("lobby") == ((second, "a value"),)


async def test_a_child_whose_address_is_taken_does_not_start(stage: Enter) -> None:
    """S65: already_started, with the holder."""
    async with stage() as here:
        holder = await here.node.spawn(Echo)
        await here.rooms.register("lobby", holder)
        spec = child(Echo, name=here.rooms.via("lobby"))
        with pytest.raises((StartFailed, NameTaken)) as raised:
            await here.node.start_child(spec)
        taken: Any = raised.value
        if isinstance(taken, StartFailed):
            taken = taken.__cause__
        assert isinstance(taken, NameTaken)
        assert (taken.name, taken.holder) == ("lobby", holder)


async def test_an_address_is_a_name_to_the_node(stage: Enter) -> None:
    """S65: register and unregister by it."""
    async with stage() as here:
        lobby = here.rooms.via("lobby")
        one, two = await here.node.spawn(Echo), await here.node.spawn(Echo)
        waiting = here.node.wait_registered(lobby)
        await here.node.register(lobby, one)
        assert await waiting is one
        with pytest.raises(NameTaken) as raised:
            await here.node.register(lobby, two)
        assert raised.value.holder is one
        await here.node.registry.unregister(lobby, one)
        assert lobby.whereis() is None
        assert here.node.registry.count() == 0


async def test_nobody_there_is_an_error_that_says_whom_one_wanted(stage: Enter) -> None:
    """S65, S46, S50: raised by tell and ask, and answered by call."""
    async with stage() as here:
        lobby = here.rooms.via("lobby")
        with pytest.raises(NameNotFound, match=r"rooms\.via\('lobby'\)") as raised:
            lobby.tell("hello")
        assert raised.value.name == lobby
        with pytest.raises(NameNotFound):
            await asyncio.to_thread(lobby.ask, "hello")
        asked = lobby.call("hello")
        with pytest.raises(ActorDead):  # as from a ref whose actor is dead
            await asked


async def test_a_request_is_for_the_owner_of_its_moment(stage: Enter) -> None:
    """S65, S49: it fails with that owner, and is not sent to the next."""
    async with stage() as here:
        lobby = here.rooms.via("lobby")
        first = await here.node.start_child(child(Echo, name=lobby, shutdown="brutal_kill"))
        asked = lobby.call("wait")
        first.kill()
        with pytest.raises(ActorDead):
            await asked
        second = await here.node.wait_registered(lobby)
        assert await second.call("told") == []
        late = lobby.call("wait", timeout=2.0)
        here.clock.advance(2.0)
        with pytest.raises(CallTimeout):
            await late


async def test_a_full_mailbox_refuses_here_too(stage: Enter) -> None:
    """S65."""
    async with stage() as here:
        lobby = here.rooms.via("lobby")
        await here.node.start_child(child(Busy, name=lobby, shutdown="brutal_kill"))
        lobby.tell(1)
        await VirtualClock.settle()
        lobby.tell(2)
        with pytest.raises(MailboxFull):
            lobby.tell(3)


async def test_duplicate_keys_are_no_addresses() -> None:
    """S65: duplicate registries refuse."""
    rooms = Registry("duplicate")
    with pytest.raises(InvalidOption, match="unique"):
        rooms.via("lobby")


async def test_addresses_are_values() -> None:
    """S65: equal if they name the same key of the same registry."""
    rooms, others = Registry(name="rooms"), Registry(name="rooms")
    assert rooms.via("a") == rooms.via("a", "a value") == Via(rooms, "a")
    assert len({rooms.via("a"), rooms.via("a"), others.via("a"), rooms.via("b")}) == 3
    assert rooms.via("a") != "a"
    assert repr(rooms.via("a")) == "rooms.via('a')"


# ------------------------------------------------------------------ registries out of their place


async def test_a_registry_that_was_not_started_says_so() -> None:
    """S65: unknown registry."""
    rooms = Registry(name="rooms")
    async with Node() as node:
        ref = await node.spawn(Echo)
        for use in (
            lambda: rooms.whereis("lobby"),
            lambda: rooms.lookup("lobby"),
            rooms.select,
            lambda: rooms.keys(ref),
            lambda: rooms.via("lobby").tell(1),
            lambda: rooms.via("lobby").call(1),
            lambda: rooms.register("lobby", ref),
            lambda: rooms.unregister("lobby", ref),
            lambda: rooms.listen(ref),
            lambda: rooms.wait_registered("lobby"),
            lambda: node.whereis(rooms.via("lobby")),
        ):
            with pytest.raises(NodeNotRunning, match=r"'rooms'.*has not been started"):
                use()
        with pytest.raises(NodeNotRunning, match="has not been started"):
            async with rooms.lock("lobby"):
                pytest.fail("locked")
        with pytest.raises(StartFailed) as raised:
            await node.start_child(child(Echo, name=rooms.via("lobby")))
        assert isinstance(raised.value.__cause__, NodeNotRunning)


async def test_a_registry_serves_one_node_at_a_time_and_can_move_on() -> None:
    """S65: the second start is refused and leaves the first alone; the next node may have it."""
    rooms = Registry(name="rooms")
    spec = child(*rooms.actor(), id="rooms", restart="temporary")
    async with Node([spec]) as node, Node() as other:
        ref = await node.start_child(child(Echo, name=rooms.via("lobby")))
        with pytest.raises(StartFailed, match="another node"):
            await other.start_child(spec)
        with pytest.raises(InvalidOption, match="of another"):
            rooms.register("hall", await other.spawn(Echo))
        assert rooms.whereis("lobby") is ref
        rooms.put_meta("kept", 1)
        waiting = rooms.wait_registered("hall")
    with pytest.raises(NodeNotRunning):
        await waiting
    async with Node([spec]) as node:
        assert rooms.select() == ()
        again = await node.start_child(child(Echo, name=rooms.via("lobby")))
        assert rooms.whereis("lobby") is again
        waiting = rooms.wait_registered("hall")
        async with rooms.lock("hall"):
            await rooms.register("hall", again)
        assert await waiting is again
        await VirtualClock.settle()
        assert (list(rooms.table.by_owner), rooms.meta("kept")) == ([again], 1)


def test_a_registry_serves_a_node_with_a_thread() -> None:
    """S65: everything by blocking calls."""
    rooms = Registry(name="rooms")
    with Node([child(*rooms.actor(), id="rooms")]) as node:
        node.start_child(child(Echo, name=rooms.via("lobby"))).get(timeout=10)
        assert rooms.via("lobby").ask("hello", timeout=10) == "hello"
        with rooms.lock("lobby"):
            assert rooms.count() == 1


async def test_an_address_is_a_key_wherever_one_can_be_given(stage: Enter) -> None:
    """S65: in its own registry, also when another one is asked."""
    async with stage() as here:
        lobby = here.rooms.via("lobby", 1)
        ref = await here.node.start_child(child(Echo, name=lobby))
        for registry in (here.rooms, here.node.registry):
            assert registry.lookup(lobby) == ((ref, 1),)
            assert registry.values(lobby, ref) == (1,)
            assert registry.match(lobby, 1) == ((ref, 1),)
            assert registry.count_match(lobby, 2) == 0
            assert registry.dispatch(lobby, len) == 1
            assert await registry.update_value(lobby, lambda _: 1, ref) == (1, 1)
            assert registry.via(lobby) == lobby
            async with here.rooms.lock("lobby"):
                entering = asyncio.ensure_future(enter(registry.lock(lobby, timeout=1.0)))
                await VirtualClock.settle()
                here.clock.advance(1.0)
                with pytest.raises(CallTimeout):
                    await entering
            await registry.unregister_match(lobby, 1, ref)
            assert here.rooms.lookup("lobby") == ()
            await here.rooms.register(lobby, ref)


async def enter(lock: Any) -> None:
    async with lock:
        pytest.fail("locked")
