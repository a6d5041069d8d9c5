"""Monitors: one message each, once, after all the dead has sent."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.signals import (
    KILLED,
    NO_ACTOR,
    Custom,
    Down,
)
from puckstream.errors import ActorDead

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from tests.actors.conftest import Doer, Door, Engine, Threads

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


async def kept(ref: ActorRef[Any]) -> list[Any]:
    """Return what a doer has been told so far."""
    return list(await ref.call(lambda actor: actor.heard))


def wait_dead(ref: ActorRef[Any]) -> None:
    """Wait in a thread until ``ref`` is dead; on the loop it is already."""
    ref.wait_stopped().get(timeout=20)


async def test_every_monitor_is_told_of_the_end_exactly_once(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        watcher, ref = await e.spawn(kind), await e.spawn(kind)
        numbers = await watcher.call(lambda actor: [actor.monitor(ref) for _ in range(3)])
        ref.exit("odd")
        await ref.wait_stopped()
        ref.kill()
        await e.settle()
        assert await kept(watcher) == [Down(number, ref, Custom("odd")) for number in numbers]


async def test_the_news_of_an_end_comes_after_all_the_dead_has_sent(
    engine: AnyEngine, kind: AnyKind
) -> None:
    """S45, also when a thread's actor is killed while its messages are on their way."""
    async with engine() as e:
        probe, ref = await e.probe(), await e.spawn(kind)
        number = probe.monitor(ref)

        def send(actor: Doer) -> None:
            for message in range(50):
                probe.ref.tell(message)
            actor.actor_ref.kill()

        ref.tell(send)
        received = [await probe.receive() for _ in range(51)]
        assert received == [*range(50), Down(number, ref, KILLED)]


async def test_a_killed_thread_has_sent_before_its_end_what_it_sent_before(
    engine: AnyEngine, thread_doer: AnyKind, door: Door
) -> None:
    async with engine() as e:
        probe, ref = await e.probe(), await e.spawn(thread_doer)
        number = probe.monitor(ref)

        def send(_: Doer) -> None:
            for message in range(50):
                probe.ref.tell(message)
            sent.set()
            door.block()

        sent = threading.Event()
        ref.tell(send)
        assert sent.wait(20)  # the loop stands still, so that nothing is delivered yet
        ref.kill()
        received = [await probe.receive() for _ in range(51)]
        assert received == [*range(50), Down(number, ref, KILLED)]
        door.open()


async def test_monitoring_the_dead_is_answered_at_once(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        watcher, ref = await e.spawn(kind), await e.spawn(kind)
        ref.kill()
        number = await watcher.call(lambda actor: actor.monitor(ref))
        await e.settle()
        assert await kept(watcher) == [Down(number, ref, NO_ACTOR)]


async def test_after_demonitor_no_news_arrives(engine: AnyEngine, kind: AnyKind) -> None:
    """Not even news that was waiting in the mailbox, between messages that stay."""

    class Unequal:
        """What compares with nothing, like an array of numbers."""

        def __eq__(self, other: object) -> bool:
            raise TypeError

        __hash__ = None  # type: ignore[assignment]

    async with engine() as e:
        watcher, first, second = [await e.spawn(kind) for _ in range(3)]
        message = Unequal()

        def act(actor: Doer) -> None:
            one, other = actor.monitor(first), actor.monitor(second)
            actor.demonitor(one)
            actor.actor_ref.tell(message)
            second.kill()
            wait_dead(second)
            actor.actor_ref.tell("after")
            actor.demonitor(other)
            actor.demonitor(12345)

        await watcher.call(act)
        first.kill()
        await e.settle()
        heard = await kept(watcher)
        assert [heard[0] is message, *heard[1:]] == [True, "after"]


async def test_a_monitor_works_one_way(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        watcher, ref = await e.spawn(kind), await e.spawn(kind)
        await watcher.call(lambda actor: actor.monitor(ref))
        watcher.kill()
        assert await ref.call("still here") == "still here"
        assert not ref._extra.monitors


async def test_nothing_is_kept_of_links_and_monitors_that_are_over(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        watcher, bystander = await e.spawn(kind), await e.spawn(kind)
        for _ in range(3):
            ref = await e.spawn(kind)

            def watch(actor: Doer, ref: Any = ref) -> None:
                actor.demonitor(actor.monitor(ref))
                actor.monitor(ref)
                actor.link(bystander)
                actor.unlink(bystander)

            await watcher.call(watch)
            ref.kill()
        await e.settle()
        assert not watcher._extra.watching
        assert not watcher._extra.links
        assert not bystander._extra.links


async def test_links_and_monitors_made_in_threads_are_complete_when_the_call_returns(
    engine: AnyEngine, kind: AnyKind, thread_doer: AnyKind, threads: Threads
) -> None:
    async with engine() as e:
        ref, peer = await e.spawn(thread_doer), await e.spawn(kind)

        def linked_at_once(actor: Doer) -> bool:
            actor.link(peer)
            return peer in actor.actor_ref._extra.links  # type: ignore[union-attr, operator]

        assert await ref.call(linked_at_once) is True


async def test_a_message_to_the_dead_raises_here_and_disturbs_nobody(
    engine: AnyEngine, kind: AnyKind
) -> None:
    """OTP's S46 is silent; here the sender is told, and an exit signal is lost in silence."""
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.kill()
        with pytest.raises(ActorDead):
            ref.tell("hello?")
        ref.exit("odd")
        ref.kill()
        assert ref.reason == KILLED
