"""Actors that are held up, and asked about themselves meanwhile.

Covers S59.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.inspector import Inspector
from puckstream.actors.mailbox import Bound
from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN
from puckstream.errors import ActorDead, CallTimeout
from puckstream.node import Node

if TYPE_CHECKING:
    from tests.actors.conftest import Doer, Door, Engine, Threads

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


async def looked_at(e: Engine, kind: Any, *args: Any) -> tuple[Any, Inspector]:
    ref = await e.spawn(kind, *args)
    return ref, Inspector(ref)


async def test_a_suspended_actor_handles_nothing_but_what_it_is_asked_about_itself(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)
        ref.tell("before")
        await look.suspend()
        assert ref.state == "suspended"
        ref.tell("told")
        asked = ref.call("asked", None)
        urgent = ref.call("urgent", None, control=True)
        assert await look.state() == {"heard": ["before"]}
        await look.replace_state(lambda _: {"heard": ["replaced"]})
        await e.settle()
        assert not asked.done
        assert not urgent.done
        await look.resume()
        assert await asked == "asked"
        assert await urgent == "urgent"
        assert await ref.call(lambda actor: actor.heard) == ["replaced", "urgent", "told", "asked"]


async def test_suspending_and_resuming_twice_is_doing_it_once(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)
        await look.resume()
        await look.suspend()
        await look.suspend()
        ref.tell("waits")
        await look.resume()
        await look.resume()
        assert await ref.call("goes on") == "goes on"
        assert await ref.call(lambda actor: actor.heard) == ["waits", "goes on"]
        assert ref.state == "idle" or kind._threaded


async def test_requests_about_itself_that_were_queued_behind_messages_are_still_answered(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)
        ref.tell(door.hold)
        await door.reached
        suspending = look.suspend()
        ref.tell("waits")
        before, resuming, after = look.status(), look.resume(), look.status()
        door.open()
        await suspending
        assert (await before).suspended
        await resuming
        assert not (await after).suspended
        assert await ref.call(lambda actor: actor.heard) == ["waits"]


async def test_a_call_to_a_suspended_actor_times_out_and_is_served_later_for_nobody(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)
        await look.suspend()
        asked = ref.call("late", 2.0)
        await e.clock.elapse(2.0)
        with pytest.raises(CallTimeout):
            await asked
        await look.resume()
        assert await ref.call(lambda actor: actor.heard) == ["late"]


@pytest.mark.parametrize(
    ("end", "reason", "words"),
    [
        (lambda ref: ref.stop(block=False), NORMAL, ["on_stop"]),
        (lambda ref: ref._actor.stop(), NORMAL, ["on_stop"]),
        (lambda ref: ref.exit("shutdown"), SHUTDOWN, []),
        (lambda ref: ref.kill(), KILLED, []),
    ],
    ids=["stop", "its own stop", "exit", "kill"],
)
async def test_a_suspended_actor_can_be_ended(
    engine: AnyEngine, kind: AnyKind, end: Any, reason: Any, words: list[str]
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref, look = await looked_at(e, kind, heard)
        await look.suspend()
        asked = ref.call("never", None)
        end(ref)
        assert await ref.wait_stopped() == reason
        with pytest.raises(ActorDead):
            await asked
        with pytest.raises(ActorDead):
            await look.resume()
        assert heard == words


async def test_its_supervisor_can_end_a_suspended_actor_that_traps_exits(
    engine: AnyEngine, trapper: AnyKind
) -> None:
    """As OTP's ``sys`` loop, which obeys the parent's exit; another's waits."""
    async with engine() as e:
        heard: list[Any] = []
        stranger = await e.spawn(trapper)
        ref, look = await looked_at(e, trapper, heard)
        await look.suspend()
        await stranger.call(lambda _: ref.exit("shutdown"))
        await e.settle()
        assert ref.state == "suspended"
        ref.exit("shutdown")
        assert await ref.wait_stopped() == SHUTDOWN
        assert heard == ["on_stop"]


async def test_a_node_with_a_suspended_actor_shuts_down(kind: AnyKind) -> None:
    async with Node() as node:
        loose = await node.spawn(kind)
        child = await node.start_child(kind)
        for ref in (loose, child):
            await node.inspect(ref).suspend()
        assert "suspended" in str(node.tree())
    assert loose.reason == NORMAL
    assert child.reason == SHUTDOWN


async def test_a_suspended_actor_with_a_full_mailbox_is_resumed(
    engine: AnyEngine, kind: AnyKind
) -> None:
    """No bound refuses, and none drops, what an actor is asked about itself."""
    async with engine() as e:
        for policy in ("refuse", "drop_new", "drop_old"):
            bounded = type("Full", (kind,), {"mailbox": Bound(1, policy)})  # type: ignore[arg-type]
            ref, look = await looked_at(e, bounded)
            await look.suspend()
            ref.tell("fills it")
            state = look.state()
            assert await state == {"heard": []}
            await look.resume()
            await look.state()
            assert await ref.call(lambda actor: actor.heard) == ["fills it"]


async def test_timers_and_tasks_of_a_suspended_actor_go_on_and_are_heard_of_later(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, doer)

        async def work() -> str:
            return "worked"

        def begin(actor: Any) -> None:
            actor.send_after(1.0, "rings")
            actor.start_task("work", work)

        await ref.call(begin)
        await look.suspend()
        await e.clock.elapse(1.0)
        assert (await look.state()) == {"heard": []}
        await look.resume()
        heard = await ref.call(lambda actor: actor.heard)
        assert sorted(map(str, heard)) == ["TaskDone(name='work', result='worked')", "rings"]


async def test_no_message_of_any_thread_is_lost_however_often_an_actor_is_held_up(
    engine: AnyEngine, kind: AnyKind, threads: Threads
) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)

        def send(sender: int) -> list[Any]:
            for number in range(100):
                ref.tell((sender, number))
            return [ref.ask((sender, number), timeout=20) for number in range(100, 110)]

        sending = [threads.run(send, sender) for sender in range(3)]
        holds = 0
        while not all(one.done for one in sending):
            await look.suspend()
            ref.tell(("loop", holds))
            holds += 1
            if holds % 3 == 0:
                await look.suspend()
            await look.resume()
        for sender, sent in enumerate(sending):
            assert await sent == [(sender, number) for number in range(100, 110)]
        heard = await ref.call(lambda actor: list(actor.heard))
        for sender in range(3):
            assert [n for s, n in heard if s == sender] == list(range(110))
        assert [n for s, n in heard if s == "loop"] == list(range(holds))
