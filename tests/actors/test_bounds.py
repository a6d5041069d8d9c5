"""A mailbox that is full: what is refused, what is dropped, and what always gets through."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from puckstream.actors.mailbox import Bound
from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN, Custom, Down
from puckstream.errors import ActorDead, InvalidOption, MailboxFull

if TYPE_CHECKING:
    from tests.actors.conftest import Door, Engine, Threads


def bounded(kind: type[Any], capacity: int, policy: Any = "refuse") -> type[Any]:
    class Bounded(kind):  # type: ignore[misc,unused-ignore]
        mailbox: ClassVar[Bound | None] = Bound(capacity, policy)

    return Bounded


@pytest.mark.parametrize("from_thread", [False, True])
async def test_a_full_mailbox_refuses_and_hands_the_message_back(
    engine: type[Engine], kind: type[Any], door: Door, threads: Threads, from_thread: bool
) -> None:
    async with engine() as e:
        ref = await e.spawn(bounded(kind, 2), heard := list[Any]())
        ref.tell(door.hold)
        await door.reached

        def fill() -> MailboxFull:
            ref.tell(1)
            ref.tell(2)
            with pytest.raises(MailboxFull) as caught:
                ref.tell(3)
            return caught.value

        full = await threads.run(fill) if from_thread else fill()
        assert (full.ref, full.capacity, full.undelivered) == (ref, 2, 3)
        with pytest.raises(MailboxFull):
            await ref.call("asked")
        door.open()
        await ref.stop(block=False)
        assert heard == [1, 2, "on_stop"]
        assert not e.system.dead_letters.count


async def test_what_was_not_refused_is_handled_whoever_sends_at_the_same_time(
    engine: type[Engine], kind: type[Any], threads: Threads
) -> None:
    async with engine() as e:
        ref = await e.spawn(bounded(kind, 3), heard := list[Any]())
        taken: list[Any] = []

        def send(sender: int, count: int) -> None:
            for number in range(count):
                try:
                    ref.tell((sender, number))
                except MailboxFull:
                    continue
                taken.append((sender, number))

        sent = [threads.run(send, sender, 500) for sender in range(2)]
        for _ in range(100):
            send(2, 5)
            await asyncio.sleep(0)
        for reply in sent:
            await reply
        await ref.stop(block=False)
        assert heard.pop() == "on_stop"
        assert sorted(heard) == sorted(taken)
        assert not e.system.dead_letters.count


async def test_drop_new_keeps_the_old_messages_and_fails_a_dropped_request(
    engine: type[Engine], kind: type[Any], door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(bounded(kind, 2, "drop_new"), heard := list[Any]())
        ref.tell(door.hold)
        await door.reached
        for number in range(4):
            ref.tell(number)
        with pytest.raises(MailboxFull):
            await ref.call("asked")
        door.open()
        await ref.stop(block=False)
        assert heard == [0, 1, "on_stop"]
        letters = e.system.dead_letters
        assert [(letter.ref, letter.message) for letter in letters.recent] == [(ref, 2), (ref, 3)]


async def test_drop_old_keeps_the_new_messages_and_fails_a_dropped_request(
    engine: type[Engine], kind: type[Any], door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(bounded(kind, 2, "drop_old"), heard := list[Any]())
        ref.tell(door.hold)
        await door.reached
        asked = ref.call("asked")
        for number in range(3):
            ref.tell(number)
        with pytest.raises(MailboxFull):
            await asked
        door.open()
        await ref.stop(block=False)
        assert heard == [1, 2, "on_stop"]
        assert [letter.message for letter in e.system.dead_letters.recent] == [0]


@pytest.mark.parametrize("policy", ["refuse", "drop_new", "drop_old"])
async def test_a_stop_gets_through_and_stays_in_its_place(
    engine: type[Engine], kind: type[Any], door: Door, policy: str
) -> None:
    async with engine() as e:
        ref = await e.spawn(bounded(kind, 1, policy))
        ref.tell(door.hold)
        await door.reached
        ref.tell("fills it")
        stopped = ref.stop(block=False)
        for number in range(5):
            try:
                ref.tell(number)
            except MailboxFull:
                assert policy == "refuse"
        door.open()
        assert await stopped
        assert ref.reason == NORMAL


@pytest.mark.parametrize("policy", ["refuse", "drop_new", "drop_old"])
async def test_news_of_other_actors_gets_through_to_a_full_mailbox_and_is_never_dropped(
    engine: type[Engine], kind: type[Any], door: Door, policy: str
) -> None:
    async with engine() as e:
        watched = await e.spawn(kind)
        ref = await e.spawn(bounded(kind, 1, policy), heard := list[Any]())
        number = await ref.call(lambda actor: actor.monitor(watched))
        await e.settle()
        ref.tell(door.hold)
        await door.reached
        ref.tell("fills it")
        watched.kill()
        await watched.wait_stopped()
        for message in range(5):
            try:
                ref.tell(message)
            except MailboxFull:
                assert policy == "refuse"
        door.open()
        await ref.stop(block=False)
        assert Down(number, watched, KILLED) in heard


@pytest.mark.parametrize("end", ["boom", "kill"])
async def test_signals_and_control_requests_pass_a_full_mailbox(
    engine: type[Engine], kind: type[Any], door: Door, end: str
) -> None:
    async with engine() as e:
        ref = await e.spawn(bounded(kind, 1), heard := list[Any]())
        ref.tell(door.hold)
        await door.reached
        ref.tell("fills it")
        control = ref.call("control", control=True)
        door.open()
        assert await control == "control"
        assert heard[0] == "control"
        ref.exit(end)
        assert await ref.wait_stopped() == (KILLED if end == "kill" else Custom("boom"))


async def test_a_full_mailbox_of_an_actor_that_dies_answers_everybody(
    engine: type[Engine], kind: type[Any], door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(bounded(kind, 2))
        ref.tell(door.hold)
        await door.reached
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


async def test_a_subclass_may_lift_the_bound_of_its_base(
    engine: type[Engine], kind: type[Any]
) -> None:
    class Unbounded(bounded(kind, 1)):  # type: ignore[misc]
        mailbox = None

    async with engine() as e:
        ref = await e.spawn(Unbounded, heard := list[Any]())
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
