"""What a gen_server promises those who call it, and is promised itself."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.reply import get_all
from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN, Crash, Custom, Down
from puckstream.errors import ActorDead, CallingSelf, CallTimeout, Refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from puckstream.actors.reply import Reply
    from tests.actors.conftest import Doer, Door, Engine, Threads

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


# -- S49: timeouts


async def test_a_late_reply_surfaces_nowhere(
    engine: AnyEngine, doer: AnyKind, new_door: Callable[[], Door]
) -> None:
    """S49: not in the caller's mailbox, and not as the reply to his next request."""
    async with engine() as e:
        heard: list[Any] = []
        server = await e.spawn(doer)
        client = await e.spawn(doer, heard)
        door = new_door()

        async def answer_late(_: Any) -> str:
            await door.wait()
            return "late"

        async def give_up(_: Any) -> Any:
            with pytest.raises(CallTimeout, match=r"within 1\.0 seconds"):
                await server.call(answer_late, 1.0)
            following = server.call("following")
            door.open()
            return await following

        reply = client.call(give_up, None)
        await door.reached
        await e.clock.elapse(1.0)
        assert await reply == "following"
        await e.settle()
        assert heard == []
        assert server.is_alive()


async def test_a_call_without_a_timeout_of_its_own_waits_five_seconds(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    """S49."""
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.tell(door.hold)
        await door.reached
        asked = ref.call("in vain")
        await e.clock.elapse(4.9)
        assert not asked.done
        await e.clock.elapse(0.1)
        with pytest.raises(CallTimeout):
            await asked
        door.open()
        assert "in vain" in await ref.call(lambda actor: actor.heard)


# -- S50: calls that cannot be answered


async def test_a_call_fails_by_what_became_of_the_server(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    """S50: dead before, killed meanwhile, crashed by another's message, crashed by this one."""
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.tell(door.hold)
        await door.reached
        ref.tell(ValueError("another's"))
        behind = ref.call("behind it")
        door.open()
        with pytest.raises(ActorDead, match="stopped before handling"):
            await behind
        with pytest.raises(ActorDead, match="not found"):
            await ref.call("too late")

        crashed = await e.spawn(kind)
        with pytest.raises(KeyError, match="its own"):
            await crashed.call(KeyError("its own"))


async def test_calling_oneself_is_an_error_at_once_and_not_a_timeout(
    engine: AnyEngine, kind: AnyKind
) -> None:
    """S50: ``calling_self``; the actor goes on if it catches that."""
    async with engine() as e:
        ref = await e.spawn(kind)

        def call_myself(actor: Any) -> str:
            with pytest.raises(CallingSelf, match="call the method directly"):
                actor.actor_ref.call("me")
            return "alive"

        assert await ref.call(call_myself) == "alive"


# -- S51: exceptions


async def test_an_exception_in_a_handler_ends_the_server_whoever_sent_the_message(
    engine: AnyEngine, kind: AnyKind
) -> None:
    """S51: told, asked, a signal's message: ``on_failure`` runs, links and monitors are told."""
    async with engine() as e:
        for how in ("tell", "call"):
            probe = await e.probe()
            heard: list[Any] = []
            ref = await e.spawn(kind, heard)
            number = probe.monitor(ref)
            error = ValueError(how)
            if how == "tell":
                ref.tell(error)
            else:
                with pytest.raises(ValueError, match="call"):
                    await ref.call(error)
            assert await probe.receive(Down) == Down(number, ref, Crash(error))
            assert heard == ["on_failure"]


@pytest.mark.parametrize("value", [None, ..., ("reply", 1), NotImplemented, [], Exception])
async def test_there_is_no_bad_return_value(engine: AnyEngine, kind: AnyKind, value: Any) -> None:
    """S51: whatever a handler returns is the answer."""
    async with engine() as e:
        ref = await e.spawn(kind)
        assert await ref.call(lambda _: value) is value


async def test_a_refusal_is_an_answer(engine: AnyEngine, kind: AnyKind) -> None:
    """S51."""

    def refuse(_: Any) -> None:
        raise Refuse(KeyError("no"))

    async with engine() as e:
        ref = await e.spawn(kind)
        with pytest.raises(KeyError, match="no"):
            await ref.call(refuse)
        ref.tell(refuse)
        assert await ref.call("alive") == "alive"


# -- S52: telling, and asking many


async def test_telling_never_waits_for_the_server(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    """S52: also while it is busy, and nothing comes back."""
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.tell(door.hold)
        await door.reached
        for number in range(100):
            ref.tell(number)
        ref.tell(ValueError("nobody waits for this"))
        door.open()
        reason = await ref.wait_stopped()
        assert isinstance(reason, Crash)


async def test_many_are_asked_at_a_time_and_late_answers_are_dropped(
    engine: AnyEngine, kind: AnyKind, door: Door, threads: Threads
) -> None:
    """S52: ``multi_call`` is ``get_all`` of several ``ask(block=False)``."""
    async with engine() as e:
        refs = [await e.spawn(kind) for _ in range(4)]

        def multi_call(timeout: float) -> list[Any]:
            return get_all([ref.ask("who?", block=False) for ref in refs], timeout=timeout)

        assert await threads.run(multi_call, 20.0) == ["who?"] * 4
        refs[2].tell(door.hold)
        await door.reached
        with pytest.raises(CallTimeout):
            await threads.run(multi_call, 0.01)
        door.open()
        assert await threads.run(multi_call, 20.0) == ["who?"] * 4


async def test_of_many_one_can_tell_who_did_not_answer(
    engine: AnyEngine, kind: AnyKind, outcome: Callable[[Reply[Any]], Any]
) -> None:
    """S52: the bad ones are those whose reply has an exception."""
    async with engine() as e:
        refs = [await e.spawn(kind) for _ in range(3)]
        refs[1].kill()
        replies = [ref.call("who?") for ref in refs]
        for reply in (replies[0], replies[2]):
            await reply
        assert [isinstance(outcome(one), ActorDead) for one in replies] == [False, True, False]


# -- S55: when the last words are said


@pytest.mark.parametrize(
    ("ends", "words", "reason"),
    [
        (lambda ref: ref.stop(block=False), ["queued", "on_stop"], NORMAL),
        (lambda ref: ref.tell(lambda a: a.finish("over")), ["queued", "on_stop"], Custom("over")),
        (lambda ref: ref.tell(SystemExit(3)), ["queued", "on_stop"], None),
        (lambda ref: ref.tell(ValueError("x")), ["queued", "on_failure"], None),
        (lambda ref: ref.exit("shutdown"), [], SHUTDOWN),
        (lambda ref: ref.exit("kill"), [], KILLED),
    ],
    ids=["stop", "finish", "SystemExit", "crash", "untrapped exit", "kill"],
)
async def test_which_hook_runs_depends_on_how_it_ends(
    engine: AnyEngine, kind: AnyKind, door: Door, ends: Any, words: list[str], reason: Any
) -> None:
    """S55: an untrapped signal goes ahead of what is queued, and runs none."""
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(kind, heard)
        ref.tell(door.hold)
        await door.reached
        ref.tell("queued")
        ends(ref)
        door.open()
        ended = await ref.wait_stopped()
        await e.no_zombies()
        assert heard == words
        if reason is not None:
            assert ended == reason


async def test_a_trapped_exit_of_the_parent_comes_behind_what_was_queued(
    engine: AnyEngine, trapper: AnyKind, door: Door
) -> None:
    """S55."""
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(trapper, heard)
        ref.tell(door.hold)
        await door.reached
        ref.tell("queued before")
        ref.exit("shutdown")
        ref.tell("queued behind")
        door.open()
        assert await ref.wait_stopped() == SHUTDOWN
        assert heard == ["queued before", "on_stop"]


# -- S56: stopping from outside


async def test_stop_answers_when_the_server_is_down_and_says_whether_it_was_alive(
    engine: AnyEngine, kind: AnyKind
) -> None:
    """S56: a server that nobody knows is no error here, but false."""
    async with engine() as e:
        ref = await e.spawn(kind)
        assert await ref.stop(block=False) is True
        assert ref.state == "dead"
        assert await ref.stop(block=False) is False
        assert await ref.wait_stopped() == NORMAL


async def test_a_stop_whose_time_is_over_says_so_and_stops_all_the_same(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    """S56: ``stop(S, Reason, Timeout)``."""
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.tell(door.hold)
        await door.reached
        stopping = ref.stop(block=False, timeout=2.0)
        await e.clock.elapse(2.0)
        with pytest.raises(CallTimeout):
            await stopping
        assert ref.is_alive()
        door.open()
        assert await ref.wait_stopped() == NORMAL


async def test_a_thread_that_stops_a_server_waits_no_longer_than_it_says(
    engine: AnyEngine, kind: AnyKind, door: Door, threads: Threads
) -> None:
    """S56."""
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.tell(door.hold)
        await door.reached
        with pytest.raises(CallTimeout):
            await threads.run(lambda: ref.stop(timeout=0.01))
        stopping = threads.run(ref.stop)
        door.open()
        assert await stopping is True
        assert await threads.run(ref.stop) is False


async def test_stop_is_answered_also_if_the_server_ends_otherwise(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    """S56: its reason tells how."""
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.tell(door.hold)
        await door.reached
        ref.tell(ValueError("on the way"))
        stopping = ref.stop(block=False)
        door.open()
        assert await stopping is True
        assert isinstance(ref.reason, Crash)


# -- S57: messages it does not know


async def test_a_message_that_the_server_does_not_know_is_logged_and_it_goes_on(
    engine: AnyEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """S57: ``handle_info``'s default. An asker gets None, since pykka's handler returns it."""
    async with engine() as e:
        ref = await e.spawn(Actor)
        caplog.set_level(logging.WARNING)
        ref.tell("what is this?")
        assert await ref.call("and this?") is None
        assert "what is this?" in caplog.text
        assert ref.is_alive()
