"""Exit signals, links and monitors; the watcher and the watched of either kind.

Covers S42, S43, S44, S45, S46.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors import links
from puckstream.actors.actor import Actor
from puckstream.actors.signals import (
    KILLED,
    NO_ACTOR,
    NORMAL,
    SHUTDOWN,
    Crash,
    Custom,
    Down,
    Exit,
    Shutdown,
)
from puckstream.errors import ActorDead, InvalidOption, NotInActor, StartFailed

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from tests.actors.conftest import Doer, Door, Engine

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


async def kept(ref: ActorRef[Any]) -> list[Any]:
    """Return what a doer has been told so far."""
    return list(await ref.call(lambda actor: actor.heard))


# ---------------------------------------------------------------------------------- exit signals


async def test_a_normal_exit_from_another_is_ignored(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref, other = await e.spawn(kind), await e.spawn(kind)
        ref.exit("normal")
        await other.call(lambda _: ref.exit("normal"))
        await e.settle()
        assert await ref.call("still here") == "still here"


async def test_a_normal_exit_from_itself_ends_an_actor(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.tell(lambda actor: actor.exit())
        assert await ref.wait_stopped() == NORMAL


async def test_any_other_exit_ends_an_actor_that_does_not_trap(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        for given, reason in (
            ("shutdown", SHUTDOWN),
            (Shutdown("for the night"), Shutdown("for the night")),
            (7, Custom(7)),
        ):
            ref = await e.spawn(kind)
            ref.exit(given)
            assert await ref.wait_stopped() == reason


async def test_an_exit_from_another_actor_is_a_message_to_one_that_traps(
    engine: AnyEngine, trapper: AnyKind
) -> None:
    async with engine() as e:
        ref, other = await e.spawn(trapper), await e.spawn(trapper)
        for reason in ("normal", "shutdown", "odd"):
            await other.call(lambda _, reason=reason: ref.exit(reason))
        await e.settle()
        assert await kept(ref) == [
            Exit(other, NORMAL),
            Exit(other, SHUTDOWN),
            Exit(other, Custom("odd")),
        ]


async def test_an_exit_signal_arrives_in_order_with_its_senders_messages(
    engine: AnyEngine, trapper: AnyKind
) -> None:
    async with engine() as e:
        ref, sender = await e.spawn(trapper), await e.spawn(trapper)

        def send(_: Any) -> None:
            ref.tell("before")
            ref.exit("odd")

        await sender.call(send)
        await e.settle()
        assert await kept(ref) == ["before", Exit(sender, Custom("odd"))]


async def test_an_exit_comes_before_the_messages_that_wait(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(kind, heard)
        ref.tell(door.hold)
        await door.reached
        ref.tell("never")
        ref.exit("odd")
        door.open()
        assert await ref.wait_stopped() == Custom("odd")
        assert heard == []


async def test_a_kill_cannot_be_trapped(engine: AnyEngine, trapper: AnyKind) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(trapper, heard)
        ref.exit("kill")
        assert await ref.wait_stopped() == KILLED
        assert heard == []


@pytest.mark.parametrize("reason", ["normal", "shutdown"])
async def test_the_parents_exit_stops_an_actor_that_traps_after_its_messages(
    engine: AnyEngine, trapper: AnyKind, door: Door, reason: str
) -> None:
    """S55: its ``on_stop`` runs, after what was queued before the signal."""
    async with engine() as e:
        heard: list[Any] = []
        parent, ref = await e.spawn(trapper), await e.spawn(trapper, heard)
        links.adopt(parent, ref)
        ref.tell(door.hold)
        await door.reached
        ref.tell("queued")
        await parent.call(lambda _: ref.exit(reason))
        await e.settle()
        ref.tell("never")
        door.open()
        assert await ref.wait_stopped() == (NORMAL if reason == "normal" else SHUTDOWN)
        assert heard == ["queued", "on_stop"]


async def test_an_actor_may_outlive_its_parents_exit(engine: AnyEngine, trapper: AnyKind) -> None:
    class Survivor(trapper):  # type: ignore[misc, valid-type]
        def on_parent_exit(self, reason: Any) -> bool:
            self.heard.append(reason)
            return False

    async with engine() as e:
        parent, ref = await e.spawn(trapper), await e.spawn(Survivor)
        links.adopt(parent, ref)
        parent.kill()
        await e.settle()
        assert await kept(ref) == [KILLED]


async def test_an_exception_in_on_parent_exit_ends_the_actor(
    engine: AnyEngine, trapper: AnyKind
) -> None:
    class Failing(trapper):  # type: ignore[misc, valid-type]
        def on_parent_exit(self, reason: Any) -> bool:
            raise ValueError

    async with engine() as e:
        parent, ref = await e.spawn(trapper), await e.spawn(Failing)
        links.adopt(parent, ref)
        parent.kill()
        assert isinstance(await ref.wait_stopped(), Crash)


# ----------------------------------------------------------------------------------------- links


async def test_the_end_of_a_linked_actor_ends_its_peer_for_the_same_reason(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        for end, reason in (
            (lambda ref: ref.exit("odd"), Custom("odd")),
            (lambda ref: ref.exit("shutdown"), SHUTDOWN),
            (lambda ref: ref.kill(), KILLED),
        ):
            for back in (False, True):
                one, other = await e.spawn(kind), await e.spawn(kind)
                await one.call(lambda actor, other=other: actor.link(other))
                end(other if back else one)
                assert await one.wait_stopped() == reason
                assert await other.wait_stopped() == reason


async def test_a_crash_goes_over_a_link(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        one, other = await e.spawn(kind), await e.spawn(kind)
        await one.call(lambda actor: actor.link(other))
        error = ValueError("no")
        one.tell(error)
        assert await other.wait_stopped() == Crash(error)


async def test_the_normal_end_of_a_linked_actor_ends_nobody(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        one, other = await e.spawn(kind), await e.spawn(kind)
        await one.call(lambda actor: actor.link(other))
        await one.stop(block=False)
        assert await other.call("still here") == "still here"


async def test_a_trapping_peer_gets_one_message_whatever_the_reason(
    engine: AnyEngine, kind: AnyKind, trapper: AnyKind
) -> None:
    async with engine() as e:
        peer = await e.spawn(trapper)
        refs = [await e.spawn(kind) for _ in range(3)]
        for ref in refs:
            for _ in range(2):  # linking twice is linking once
                await peer.call(lambda actor, ref=ref: actor.link(ref))
        normal, killed, odd = refs
        await normal.stop(block=False)
        killed.kill()
        odd.exit("odd")
        await odd.wait_stopped()
        await e.settle()
        assert await kept(peer) == [
            Exit(normal, NORMAL),
            Exit(killed, KILLED),
            Exit(odd, Custom("odd")),
        ]


async def test_linking_to_the_dead_tells_one_that_traps_by_message(
    engine: AnyEngine, kind: AnyKind, trapper: AnyKind
) -> None:
    async with engine() as e:
        dead, peer = await e.spawn(kind), await e.spawn(trapper)
        dead.kill()
        await peer.call(lambda actor: actor.link(dead))
        await e.settle()
        assert await kept(peer) == [Exit(dead, NO_ACTOR)]


async def test_linking_to_the_dead_raises_in_one_that_does_not_trap(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        dead, peer = await e.spawn(kind), await e.spawn(kind)
        dead.kill()

        def link(actor: Doer) -> str:
            with pytest.raises(ActorDead):
                actor.link(dead)
            return "lived to tell"

        assert await peer.call(link) == "lived to tell"


async def test_after_unlink_no_exit_arrives(
    engine: AnyEngine, kind: AnyKind, trapper: AnyKind
) -> None:
    """Neither by signal, nor by a message that was queued already."""
    async with engine() as e:
        peer, trapping = await e.spawn(kind), await e.spawn(trapper)
        first, second = await e.spawn(kind), await e.spawn(kind)

        def link_and_unlink(actor: Doer) -> None:
            actor.link(first)
            actor.unlink(first)

        await peer.call(link_and_unlink)
        first.kill()

        await trapping.call(lambda actor: actor.link(second))
        done = trapping.call(lambda actor: (second.kill(), wait_dead(second), actor.unlink(second)))
        await done
        await e.settle()
        assert await kept(trapping) == []
        assert await peer.call("still here") == "still here"


def wait_dead(ref: ActorRef[Any]) -> None:
    """Wait in a thread until ``ref`` is dead; on the loop it is already."""
    ref.wait_stopped().get(timeout=20)


async def test_an_actor_linked_to_itself_is_not(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        await ref.call(lambda actor: actor.link(actor.actor_ref))
        ref.exit("odd")
        assert await ref.wait_stopped() == Custom("odd")


async def test_a_child_that_links_its_parent_ends_once(engine: AnyEngine, trapper: AnyKind) -> None:
    async with engine() as e:
        parent, ref = await e.spawn(trapper), await e.spawn(trapper)
        links.adopt(parent, ref)
        await ref.call(lambda actor: actor.link(parent))
        await parent.call(lambda actor: actor.link(ref))
        ref.kill()
        await e.settle()
        assert await kept(parent) == [Exit(ref, KILLED)]


async def test_the_caller_links_and_monitors_through_a_ref(
    engine: AnyEngine, kind: AnyKind, trapper: AnyKind
) -> None:
    async with engine() as e:
        peer, ref = await e.spawn(trapper), await e.spawn(kind)
        number = await peer.call(lambda _: (ref.link(), ref.monitor())[1])
        ref.kill()
        await e.settle()
        assert await kept(peer) == [Exit(ref, KILLED), Down(number, ref, KILLED)]
        with pytest.raises(NotInActor):
            ref.link()
        with pytest.raises(NotInActor):
            ref.monitor()


async def test_a_linked_start_that_fails_is_told_by_return_alone(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    """At once or late, and when it is killed while it starts."""

    class Failing(kind):  # type: ignore[misc, valid-type]
        def on_start(self) -> Any:
            raise ValueError

    class Late(Actor):
        async def on_start(self) -> None:
            await asyncio.sleep(0)
            raise ValueError

    class Stuck(kind):  # type: ignore[misc, valid-type]
        def on_start(self) -> Any:
            return door.hold(self)

    async with engine() as e:
        ref = await e.spawn(kind)
        for actor_class in (Failing, Late, Stuck):
            starting = (
                await ref.call(lambda actor, what=actor_class: [actor.spawn(what, link=True)])
            )[0]
            if actor_class is Stuck:
                await door.reached
                max(e.system.actors.values(), key=lambda started: started.id).kill()
            with pytest.raises(StartFailed):
                await starting
        door.open()
        await e.settle()
        assert await ref.call("still here") == "still here"


async def test_a_linked_start_links_from_the_first_moment(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        started = await (await ref.call(lambda actor: [actor.spawn(kind, link=True)]))[0]
        started.kill()
        assert await ref.wait_stopped() == KILLED


async def test_nothing_is_watched_or_linked_across_nodes_but_refused_in_the_caller(
    engine: AnyEngine, kind: AnyKind
) -> None:
    """Each node has a thread of its own, and a signal would come on the wrong one."""
    async with engine() as e, engine() as other:
        ref, stranger = await e.spawn(kind), await other.spawn(kind)

        def refused(actor: Any) -> list[Any]:
            errors = []
            for use in (actor.monitor, actor.link):
                with pytest.raises(InvalidOption, match="of the same node") as raised:
                    use(stranger)
                errors.append(raised.value.value)
            return errors

        assert await ref.call(refused) == [stranger, stranger]
        stranger.kill()
        await stranger.wait_stopped()
        assert await kept(ref) == []
