"""What can be seen of an actor without asking it.

Covers S81.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.inspector import Inspector
from puckstream.actors.reply import Reply
from puckstream.node import Node
from puckstream.supervision.child import child
from puckstream.supervision.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from puckstream.actors.info import Info
    from tests.actors.conftest import Doer, Door, Engine, Threads

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


def look(ref: Any) -> Info:
    info = Inspector(ref).info()
    assert info is not None
    return info


async def test_an_actor_shows_who_it_is_and_what_it_is_tied_to(
    engine: AnyEngine, trapper: AnyKind
) -> None:
    async with engine() as e:
        ref, peer, target, watcher = [await e.spawn(trapper) for _ in range(4)]

        async def work() -> None:
            await asyncio.Event().wait()

        def tie(actor: Any) -> None:
            actor.link(peer)
            actor.monitor(target)
            actor.monitor(target)
            actor.start_task("work", work)
            actor.send_after(5, "rings")
            actor.stash("aside")

        await ref.call(tie)
        await watcher.call(lambda actor: actor.monitor(ref))
        ref.call(lambda actor: setattr(actor, "asked", actor.reply_to()))
        await ref.call("handled")
        await e.settle()
        info = look(ref)
        assert (info.ref, info.id, info.actor_class) == (ref, ref.id, trapper)
        assert info.links == (peer,)
        assert info.monitors == (target, target)
        assert info.monitored_by == (watcher,)
        assert (info.trap_exit, info.tasks, info.timers) == (True, ("work",), 1)
        assert (info.stashed, info.owed, info.mailbox) == (1, 1, 0)
        assert (info.path, info.parent, info.names, info.zombie) == ("", None, (), False)


async def test_a_supervised_actor_shows_its_path_parent_and_names() -> None:
    async with Node([child(Supervisor, [child(Actor, id="till", name="cash")], id="shop")]) as node:
        info = node.inspect("cash").info()
        assert info is not None
        assert info.path == "node/app/shop/till"
        assert info.names == ("cash",)
        above = look(info.parent)
        assert (above.path, above.trap_exit) == ("node/app/shop", True)
        assert info.links == ()


async def test_an_idle_actor_has_no_handler_and_a_mailbox_shows_its_length(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        assert (look(ref).stack, look(ref).busy_for) == ((), None)
        await Inspector(ref).suspend()
        for _ in range(3):
            ref.tell("waits")
        assert (look(ref).state, look(ref).mailbox) == ("suspended", 3)


async def test_a_suspended_handler_shows_where_it_waits_and_since_when(
    engine: AnyEngine, doer: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(doer)

        async def innermost() -> None:
            await door.wait()

        async def outer(_: Any) -> None:
            await innermost()

        ref.tell(outer)
        await door.reached
        await e.clock.elapse(3.0)
        info = look(ref)
        assert info.state == "waiting"
        assert info.busy_for == 3.0
        names = [line.rsplit(".", maxsplit=1)[-1] for line in info.stack]
        assert names == ["outer", "innermost", "wait"]
        assert all("test_info.py:" in line for line in info.stack[:2])
        door.open()
        await ref.call("done")
        assert (look(ref).stack, look(ref).busy_for) == ((), None)


async def test_a_blocked_thread_shows_where_it_stands(
    engine: AnyEngine, thread_doer: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(thread_doer)
        ref.tell(door.hold)
        await door.reached
        await e.clock.elapse(3.0)
        info = look(ref)
        assert (info.state, info.busy_for) == ("running", 3.0)
        assert any(line.endswith("Door.block") for line in info.stack)
        door.open()


async def test_a_handler_that_holds_up_the_loop_can_be_seen_from_a_thread(
    engine: AnyEngine, doer: AnyKind, threads: Threads
) -> None:
    """And so it shows which actor a node that answers nothing is stuck in."""
    async with engine() as e:
        ref = await e.spawn(doer)
        held, seen = threading.Event(), threading.Event()

        def hog(_: Any) -> None:
            held.set()
            assert seen.wait(20)

        def spy() -> Info:
            assert held.wait(20)
            try:
                return look(ref)
            finally:
                seen.set()

        spying = threads.run(spy)
        ref.tell(hog)
        info = await spying
        assert info.state == "running"
        assert any(line.endswith("hog") for line in info.stack)
        assert info.busy_for is not None
        assert info.busy_for >= 0


async def test_of_a_dead_actor_there_is_nothing_to_see(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.kill()
        await ref.wait_stopped()
        await e.no_zombies()
        assert Inspector(ref).info() is None


async def test_a_killed_actor_whose_handler_still_runs_is_seen_as_a_zombie(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.tell(lambda actor: door.block() if kind._threaded else door.resist())
        await door.reached
        ref.kill()
        info = look(ref)
        assert (info.state, info.zombie) == ("dead", True)
        assert any("Door" in line for line in info.stack)
        door.open()
        await e.no_zombies()
        assert Inspector(ref).info() is None


async def test_looking_sends_no_message_and_disturbs_nothing(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.tell(door.hold)
        await door.reached
        ref.tell("waits")
        assert look(ref) == look(ref)
        assert ref.mailbox_length == 1
        door.open()
        assert await ref.call(lambda actor: list(actor.heard)) == ["waits"]


async def test_many_threads_look_while_everything_changes(
    engine: AnyEngine, kind: AnyKind, threads: Threads, outcome: Callable[[Any], Any]
) -> None:
    async with engine() as e:
        ref, peer = await e.spawn(kind), await e.spawn(kind)

        def spy() -> None:
            for _ in range(300):
                assert Inspector(ref).info() is not None

        spying = [threads.run(spy) for _ in range(2)]

        def change(actor: Any) -> None:
            number = actor.monitor(peer)
            actor.link(peer)
            actor.stash("aside")
            cancel = actor.send_after(100, "never")
            actor.unlink(peer)
            actor.demonitor(number)
            actor.unstash_all()
            cancel()

        while not all(one.done for one in spying):
            await ref.call(change)
        assert [outcome(one) for one in spying] == [None, None]


@pytest.mark.parametrize("depth", [10, 200])
async def test_a_deep_stack_is_shown_as_far_as_it_is_read(
    engine: AnyEngine, doer: AnyKind, door: Door, depth: int
) -> None:
    async with engine() as e:
        ref = await e.spawn(doer)

        async def deeper(left: int) -> None:
            if left:
                await deeper(left - 1)
            else:
                await door.wait()

        ref.tell(lambda _: deeper(depth))
        await door.reached
        assert len(look(ref).stack) == min(depth + 2, 50)
        door.open()
        await ref.call("done")


async def test_code_that_the_engine_calls_back_is_shown_with_what_led_there(
    engine: AnyEngine, thread_doer: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(thread_doer)
        settled: Reply[None] = Reply()
        settled._resolve(None)

        def led_here(_actor: Any) -> None:
            settled._when_done(door.block)

        ref.tell(led_here)
        await door.reached
        stack = [line.rsplit(".", maxsplit=1)[-1] for line in look(ref).stack]
        assert stack.index("led_here") < stack.index("block")
        door.open()
