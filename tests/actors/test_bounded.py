"""Bounded mailboxes of both kinds of actor, filled from the loop and from threads."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors import links
from puckstream.actors.mailbox import Bound
from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN, Custom, Down, Exit
from puckstream.errors import ActorDead, InvalidOption, MailboxFull

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.actors.conftest import Doer, Door, Engine, Threads

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


@pytest.fixture(params=["loop", "thread"])
def send(request: pytest.FixtureRequest, threads: Threads) -> Any:
    """Call a function from the loop, or from another thread; what it raises is returned."""

    async def from_loop(e: Engine, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except (ActorDead, MailboxFull) as error:
            return error

    async def from_thread(e: Engine, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return await threads.run(function, *args)
        except (ActorDead, MailboxFull) as error:
            return error
        finally:
            await e.settle()

    return from_loop if request.param == "loop" else from_thread


async def held(e: Engine, kind: AnyKind, bound: Bound, door: Door, heard: list[Any]) -> Any:
    """Start an actor with a bound, and hold it at the door."""
    ref = await e.spawn(type("Bounded", (kind,), {"mailbox": bound}), heard)
    ref.tell(door.hold)
    await door.reached
    return ref


async def test_a_full_mailbox_that_refuses_hands_the_message_back(
    engine: AnyEngine, kind: AnyKind, door: Door, send: Any
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref = await held(e, kind, Bound(2), door, heard)
        for message in ("a", "b"):
            assert await send(e, ref.tell, message) is None
        error = await send(e, ref.tell, "c")
        assert isinstance(error, MailboxFull)
        assert (error.ref, error.capacity, error.undelivered) == (ref, 2, "c")
        assert ref.mailbox_length == 2
        asked = await send(e, lambda: ref.ask("d", block=False))
        with pytest.raises(MailboxFull):
            await asked
        door.open()
        await ref.stop(block=False)
        assert heard == ["a", "b", "on_stop"]
        assert e.system.dead_letters.count == 0


async def test_a_full_mailbox_may_drop_the_newcomer(
    engine: AnyEngine, kind: AnyKind, door: Door, send: Any
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref = await held(e, kind, Bound(2, "drop_new"), door, heard)
        for message in ("a", "b", "c", "d"):
            assert await send(e, ref.tell, message) is None
        asked = await send(e, lambda: ref.call("e"))
        with pytest.raises(MailboxFull):
            await asked
        door.open()
        await ref.stop(block=False)
        assert heard == ["a", "b", "on_stop"]
        letters = e.system.dead_letters.recent
        assert [(letter.ref, letter.message) for letter in letters] == [(ref, "c"), (ref, "d")]


async def test_a_full_mailbox_may_drop_the_oldest(
    engine: AnyEngine, kind: AnyKind, door: Door, send: Any
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref = await held(e, kind, Bound(2, "drop_old"), door, heard)
        asked = await send(e, lambda: ref.call("a"))
        for message in ("b", "c", "d"):
            assert await send(e, ref.tell, message) is None
        with pytest.raises(MailboxFull):
            await asked
        assert ref.mailbox_length == 2
        door.open()
        await ref.stop(block=False)
        assert heard == ["c", "d", "on_stop"]
        assert [letter.message for letter in e.system.dead_letters.recent] == ["b"]


@pytest.mark.parametrize("policy", ["refuse", "drop_new", "drop_old"])
async def test_what_ends_or_informs_an_actor_is_never_refused_nor_dropped(
    engine: AnyEngine, kind: AnyKind, trapper: AnyKind, door: Door, policy: Any, send: Any
) -> None:
    """Stops, exits, the messages of monitors and tasks, the control lane."""
    async with engine() as e:
        heard: list[Any] = []
        other, watched = await e.spawn(kind), await e.spawn(kind)
        ref = await held(e, trapper, Bound(1, policy), door, heard)
        links.monitor(ref, watched, 7)
        links.link(ref, other)
        watched.kill()
        other.kill()
        await e.settle()
        stopped = await send(e, lambda: ref.stop(block=False))
        for message in range(3):
            await send(e, ref.tell, message)
        urgent = await send(e, lambda: ref.call("urgent", control=True))
        await e.settle()
        door.open()
        assert await urgent == "urgent"
        assert await stopped is True
        assert ref.reason == NORMAL
        assert Exit(other, KILLED) in heard
        assert Down(7, watched, KILLED) in heard


async def test_the_parents_exit_gets_through_a_full_mailbox(
    engine: AnyEngine, trapper: AnyKind, door: Door
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        parent = await e.spawn(trapper)
        ref = await held(e, trapper, Bound(1, "drop_old"), door, heard)
        links.adopt(parent, ref)
        ref.tell("dropped")
        links.shut_down(ref, SHUTDOWN)
        for message in range(5):
            ref.tell(message)
        door.open()
        assert await ref.wait_stopped() == SHUTDOWN
        assert heard[-1] == "on_stop"


async def test_a_bound_holds_against_the_loop_and_many_threads(
    engine: AnyEngine, kind: AnyKind, door: Door, threads: Threads
) -> None:
    """Each message is let in, refused or a dead letter: none is lost, none too many waits."""
    async with engine() as e:
        for policy in ("refuse", "drop_old"):
            heard: list[Any] = []
            bounded = type("Bounded", (kind,), {"mailbox": Bound(10, policy)})
            ref = await e.spawn(bounded, heard)
            before = e.system.dead_letters.count
            start = threading.Barrier(4)
            taken: list[Any] = []

            def send(sender: int, first: int, ref: Any = ref, taken: Any = taken) -> None:
                for number in range(first, first + 5):
                    try:
                        ref.tell((sender, number))
                    except MailboxFull:
                        pass
                    else:
                        taken.append((sender, number))
                    assert ref.mailbox_length <= 10

            def send_all(sender: int, send: Any = send, start: Any = start) -> None:
                start.wait()
                for first in range(0, 500, 5):
                    send(sender, first)

            sending = [threads.run(send_all, sender) for sender in range(4)]
            for first in range(0, 500, 5):
                send(4, first)
                await asyncio.sleep(0)
            for sent in sending:
                await sent
            await e.settle()
            await ref.stop(block=False)
            dropped = e.system.dead_letters.count - before
            assert heard.pop() == "on_stop"
            assert len(heard) + dropped == len(taken)
            assert set(heard) <= set(taken)
            for sender in range(5):
                numbers = [number for by, number in heard if by == sender]
                assert numbers == sorted(set(numbers))


async def test_a_dead_actor_with_a_bound_refuses_like_any_other(
    engine: AnyEngine, kind: AnyKind, send: Any
) -> None:
    async with engine() as e:
        ref = await e.spawn(type("Bounded", (kind,), {"mailbox": Bound(1, "drop_old")}))
        ref.kill()
        assert isinstance(await send(e, ref.tell, "hello?"), ActorDead)
        with pytest.raises(ActorDead):
            await (await send(e, lambda: ref.ask("hello?", block=False)))


async def test_an_idle_actor_with_a_bound_answers_like_any_other(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref = await e.spawn(type("Bounded", (kind,), {"mailbox": Bound(1)}))
        for number in range(10):
            assert await ref.call(number) == number


async def test_an_exit_message_stays_when_newcomers_push(
    engine: AnyEngine, kind: AnyKind, trapper: AnyKind, door: Door
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        other = await e.spawn(kind)
        ref = await held(e, trapper, Bound(1, "drop_old"), door, heard)
        links.link(ref, other)
        await other.stop(block=False)
        await e.settle()
        ref.tell("a")
        ref.tell("b")
        door.open()
        await ref.stop(block=False)
        assert heard == [Exit(other, NORMAL), "b", "on_stop"]


@pytest.mark.parametrize("end", ["boom", "kill"])
async def test_signals_and_control_requests_pass_a_full_mailbox(
    engine: AnyEngine, kind: AnyKind, door: Door, end: str
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref = await held(e, kind, Bound(1), door, heard)
        ref.tell("fills it")
        control = ref.call("control", control=True)
        door.open()
        assert await control == "control"
        assert heard[0] == "control"
        ref.exit(end)
        assert await ref.wait_stopped() == (KILLED if end == "kill" else Custom("boom"))


async def test_a_full_mailbox_of_an_actor_that_dies_answers_everybody(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await held(e, kind, Bound(2), door, [])
        replies = [ref.call(number) for number in range(4)]
        ref.exit("shutdown")
        door.open()
        assert await ref.wait_stopped() == SHUTDOWN
        for reply in replies[:2]:
            with pytest.raises(ActorDead):
                await reply
        for reply in replies[2:]:
            with pytest.raises(MailboxFull):
                await reply
        with pytest.raises(ActorDead):
            ref.tell("too late")


async def test_a_subclass_may_lift_the_bound_of_its_base(engine: AnyEngine, kind: AnyKind) -> None:
    base = type("Bounded", (kind,), {"mailbox": Bound(1)})
    unbounded = type("Unbounded", (base,), {"mailbox": None})
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(unbounded, heard)
        for number in range(10):
            ref.tell(number)
        await ref.stop(block=False)
        assert heard == [*range(10), "on_stop"]


@pytest.mark.parametrize("mailbox", [5, "refuse", (1, "refuse")])
def test_a_class_with_an_impossible_mailbox_is_refused(kind: type[Any], mailbox: Any) -> None:
    with pytest.raises(InvalidOption, match=r"Bad\.mailbox"):
        type("Bad", (kind,), {"mailbox": mailbox})


@pytest.mark.parametrize(
    ("capacity", "policy"),
    [(0, "refuse"), (-1, "refuse"), (True, "refuse"), (1.5, "refuse"), (1, "wait")],
)
def test_an_impossible_bound_is_refused(capacity: Any, policy: Any) -> None:
    with pytest.raises(InvalidOption):
        Bound(capacity, policy)
