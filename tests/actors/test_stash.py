"""Messages put aside until the actor can handle them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import ActorDead, CallTimeout, InvalidOption, StashFull

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.actors.conftest import Doer, Door, Engine, Threads

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


class Serves:
    """Serves once it is open, and keeps till then what it is asked for."""

    stash: Callable[[Any], None]
    unstash_all: Callable[[], int]

    stash_limit = 3

    def __init__(self) -> None:
        super().__init__()
        self.opened = False
        self.served: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if message == "open":
            self.opened = True
            return self.unstash_all()
        if not self.opened:
            self.stash(message)
            return "not yet"
        self.served.append(message)
        return f"{message}, served"


class Shop(Serves, Actor):
    pass


class ThreadShop(Serves, ThreadActor):
    pass


@pytest.fixture(params=[Shop, ThreadShop], ids=["Actor", "ThreadActor"])
def shop(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_what_was_put_aside_comes_back_in_order_ahead_of_what_waits(
    engine: AnyEngine, shop: Any
) -> None:
    async with engine() as e:
        ref = await e.spawn(shop)
        for message in (1, 2, "open", 3, 4):
            ref.tell(message)
        assert await ref.call(5) == "5, served"
        assert ref._actor.served == [1, 2, 3, 4, 5]


async def test_a_request_that_was_put_aside_is_answered_when_it_is_handled(
    engine: AnyEngine, shop: Any, threads: Threads
) -> None:
    async with engine() as e:
        ref = await e.spawn(shop)
        first, second = ref.call("tea"), threads.run(ref.ask, "milk")
        while not ref._extra or len(ref._extra.stash or ()) < 2:
            await e.settle()
        assert not first.done
        assert not second.done
        assert await ref.call("open") == 2
        assert await first == "tea, served"
        assert await second == "milk, served"


async def test_what_is_aside_when_the_actor_ends_is_answered_or_a_dead_letter(
    engine: AnyEngine, shop: Any
) -> None:
    async with engine() as e:
        ref = await e.spawn(shop)
        reply = ref.call("tea")
        ref.tell("told")
        ref.stop(block=False)
        with pytest.raises(ActorDead, match="stopped before handling"):
            await reply
        await ref.wait_stopped()
        assert [letter.message for letter in e.system.dead_letters.recent] == ["told"]


async def test_a_request_that_timed_out_while_it_was_aside_is_handled_all_the_same(
    engine: AnyEngine, shop: Any
) -> None:
    async with engine() as e:
        ref = await e.spawn(shop)
        reply = ref.call("tea", 1.0)
        while not ref._extra or not ref._extra.stash:
            await e.settle()
        await e.clock.elapse(1.0)
        with pytest.raises(CallTimeout):
            await reply
        await ref.call("open")
        await ref.call("milk")
        assert ref._actor.served == ["tea", "milk"]


async def test_a_full_stash_refuses_and_says_so(engine: AnyEngine, shop: Any) -> None:
    async with engine() as e:
        ref = await e.spawn(shop)
        for message in (1, 2, 3):
            ref.tell(message)
        with pytest.raises(StashFull, match=r"full \(3 messages\)") as caught:
            await ref.call("one too many")
        assert (caught.value.limit, caught.value.undelivered) == (3, "one too many")
        assert caught.value.ref is ref
        await ref.wait_stopped()


async def test_another_message_than_the_one_being_handled_can_be_put_aside(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)

        def keep_note(actor: Any) -> str:
            actor.stash("a note")
            return "answered as ever"

        assert await ref.call(keep_note) == "answered as ever"
        assert await ref.call(lambda actor: actor.unstash_all()) == 1
        assert "a note" in await ref.call(lambda actor: actor.heard)


async def test_a_handler_can_put_a_message_aside_after_it_has_awaited(
    engine: AnyEngine, door: Door
) -> None:
    class Waits(Actor):
        ready = False

        async def on_receive(self, message: Any) -> Any:
            if message == "go":
                self.ready = True
                return self.unstash_all()
            await door.wait()
            if not self.ready:
                self.stash(message)
                return None
            return "handled"

    async with engine() as e:
        ref = await e.spawn(Waits)
        reply = ref.call("work")
        await door.reached
        door.open()
        assert await ref.call("go") == 1
        assert await reply == "handled"


async def test_nothing_aside_is_nothing_to_put_back(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        assert await ref.call(lambda actor: actor.unstash_all()) == 0
        assert await ref.call("still there") == "still there"


async def test_a_killed_actor_that_still_runs_puts_nothing_aside(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)

        async def resist_and_keep(actor: Any) -> None:
            await door.resist()
            actor.stash("lost")

        def block_and_keep(actor: Any) -> None:
            door.block()
            actor.stash("lost")

        ref.tell(block_and_keep if kind._threaded else resist_and_keep)
        await door.reached
        ref.kill()
        door.open()
        await e.no_zombies()
        assert [letter.message for letter in e.system.dead_letters.recent] == ["lost"]


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "3"])
def test_an_impossible_limit_is_refused_when_the_class_is_made(limit: Any) -> None:
    with pytest.raises(InvalidOption, match="stash_limit"):
        type("Bad", (Actor,), {"stash_limit": limit})
