"""The life of an actor, from its constructor to the last of its zombies."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.actor import NODE, Actor
from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN, Crash, Custom, Exit
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import ActorDead, NodeNotRunning, StartFailed

if TYPE_CHECKING:
    from tests.actors.conftest import Doer, Door, Engine

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


# ----------------------------------------------------------------------------------------- start


async def test_a_start_is_over_when_on_start_is(engine: AnyEngine, door: Door) -> None:
    """S48: whoever starts an actor learns when it is ready; messages wait until then."""
    heard: list[Any] = []

    class Slow(Actor):
        async def on_start(self) -> None:
            await door.wait()
            heard.append("started")

        def on_receive(self, message: Any) -> None:
            heard.append(message)

    async with engine() as e:
        starting = e.spawn(Slow)
        await door.reached
        (ref,) = e.system.actors.values()
        assert (starting.done, ref.state) == (False, "starting")
        ref.tell("early")
        door.open()
        assert await starting is ref
        await ref.call("later")
        assert heard == ["started", "early", "later"]


async def test_a_thread_actor_starts_in_its_thread(engine: AnyEngine, door: Door) -> None:
    class Slow(ThreadActor):
        def on_start(self) -> None:
            door.block()
            self.ident = threading.get_ident()

        def on_receive(self, message: Any) -> Any:
            return self.ident, threading.get_ident()

    async with engine() as e:
        starting = e.spawn(Slow)
        await door.reached
        assert not starting.done
        door.open()
        started_in, runs_in = await (await starting).call("where?")
        assert started_in == runs_in != threading.get_ident()


@pytest.mark.parametrize("where", ["constructor", "on_start"])
async def test_a_failed_start_is_told_with_its_cause_and_leaves_nothing(
    engine: AnyEngine, kind: AnyKind, where: str
) -> None:
    """Trap 2; S48."""
    error = ValueError("no")
    hooks: list[Any] = []

    class Failing(kind):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__(hooks)
            if where == "constructor":
                raise error

        def on_start(self) -> None:
            if where == "on_start":
                raise error

    async with engine() as e:
        with pytest.raises(StartFailed) as caught:
            await e.spawn(Failing)
        assert caught.value.__cause__ is error
        assert caught.value.reason == Crash(error)
        assert e.system.actors == {}
        assert hooks == []


@pytest.mark.parametrize("error", [SystemExit(2), asyncio.CancelledError()], ids=repr)
async def test_a_start_that_ends_in_no_exception_has_failed_like_any_other(
    engine: AnyEngine, kind: AnyKind, error: BaseException
) -> None:
    class Failing(kind):  # type: ignore[misc, valid-type]
        def on_start(self) -> None:
            raise error

    async with engine() as e:
        with pytest.raises(StartFailed) as caught:
            await e.spawn(Failing)
        assert caught.value.__cause__ is error


async def test_a_start_that_fails_late_is_told_when_the_actor_is_gone(
    engine: AnyEngine, door: Door
) -> None:
    class Failing(Actor):
        async def on_start(self) -> None:
            await door.wait()
            raise ValueError

    async with engine() as e:
        starting = e.spawn(Failing)
        await door.reached
        (ref,) = e.system.actors.values()
        asked = ref.call("hello?")
        door.open()
        with pytest.raises(StartFailed):
            await starting
        assert e.system.actors == {}
        with pytest.raises(ActorDead):
            await asked


@pytest.mark.parametrize("end", ["exit", "kill"])
async def test_an_actor_ended_while_it_starts_has_failed_to_start(
    engine: AnyEngine, kind: AnyKind, door: Door, end: str
) -> None:
    class Slow(kind):  # type: ignore[misc, valid-type]
        def on_start(self) -> Any:
            return door.hold(self)

    async with engine() as e:
        starting = e.spawn(Slow)
        await door.reached
        (ref,) = e.system.actors.values()
        ref.exit("enough") if end == "exit" else ref.kill()
        if end == "exit":
            # Nothing can interrupt a thread.
            door.open()
        with pytest.raises(StartFailed) as caught:
            await starting
        assert caught.value.reason == (Custom("enough") if end == "exit" else KILLED)
        assert ref.reason == caught.value.reason
        assert e.system.actors == {}
        door.open()


async def test_an_actor_that_ends_itself_in_on_start_has_failed_to_start(
    engine: AnyEngine, kind: AnyKind
) -> None:
    class Shy(kind):  # type: ignore[misc, valid-type]
        def on_start(self) -> None:
            self.exit("shy")

    async with engine() as e:
        with pytest.raises(StartFailed) as caught:
            await e.spawn(Shy)
        assert caught.value.reason == Custom("shy")
        assert e.system.actors == {}


async def test_an_actor_may_stop_itself_in_on_start(engine: AnyEngine, kind: AnyKind) -> None:
    class Brief(kind):  # type: ignore[misc, valid-type]
        def on_start(self) -> None:
            self.stop()

    async with engine() as e:
        ref = await e.spawn(Brief)
        assert await ref.wait_stopped() == NORMAL


async def test_what_a_constructor_began_ends_with_its_failure(
    engine: AnyEngine, kind: AnyKind
) -> None:
    """Messages to itself are answered, its tasks cancelled, those it linked itself to told."""
    begun: list[Any] = []

    class Failing(kind):  # type: ignore[misc, valid-type]
        def __init__(self, partner: Any) -> None:
            super().__init__()
            ref = self.actor_ref
            begun.append(ref.ask("hello?", block=False))
            ref.tell("lost")
            self.link(partner)
            self.start_task("forever", asyncio.Event().wait)
            raise ValueError

    async with engine() as e:
        probe = await e.probe()
        with pytest.raises(StartFailed):
            await e.spawn(Failing, probe.ref)
        with pytest.raises(ActorDead):
            await begun[0]
        assert e.system.dead_letters.count == 1
        assert isinstance((await probe.receive(Exit)).reason, Crash)
        await e.settle()
        assert e.system.zombies == {}


async def test_a_failed_start_ends_the_tasks_it_began(engine: AnyEngine, kind: AnyKind) -> None:
    ended = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    class Failing(kind):  # type: ignore[misc, valid-type]
        async def _late(self) -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            raise ValueError

        def on_start(self) -> Any:
            self.start_task("forever", forever)
            if isinstance(self, ThreadActor):
                raise ValueError
            return self._late()

    async with engine() as e:
        with pytest.raises(StartFailed):
            await e.spawn(Failing)
        await e.settle()
        assert e.system.zombies == {}
        assert ended.is_set() or kind.__name__ == "ThreadDoer"


async def test_pykkas_start_returns_at_once_and_logs_a_failure(
    engine: AnyEngine, kind: AnyKind, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(kind):  # type: ignore[misc, valid-type]
        def on_start(self) -> None:
            raise ValueError

    async with engine() as e:
        token = NODE.set(e.system)
        ref = Failing.start()
        with caplog.at_level(logging.ERROR):
            assert isinstance(await ref.wait_stopped(), Crash)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert await kind.start().call("hello") == "hello"
        NODE.reset(token)


async def test_pykkas_start_from_a_thread_may_meet_a_node_that_has_gone(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        token = NODE.set(e.system)
        loop_ident, e.system.thread_id = e.system.thread_id, -1
        ref = kind.start()  # as from another thread
        asked = ref.ask("hello?", block=False)
        e.system.thread_id = loop_ident
        assert ref.state == "starting"
    with pytest.raises(ActorDead):
        await asked
    assert ref.reason == KILLED
    with pytest.raises(NodeNotRunning, match="running node"):
        kind.start()
    NODE.reset(token)


async def test_an_actor_ended_before_the_loop_got_to_it_never_runs(
    engine: AnyEngine, doer: AnyKind
) -> None:
    ran: list[Any] = []

    class Runner(doer):  # type: ignore[misc, valid-type]
        def on_start(self) -> None:
            ran.append(self)

    async with engine() as e:
        for end in ("kill", "exit"):
            token = NODE.set(e.system)
            loop_ident, e.system.thread_id = e.system.thread_id, -1
            ref = Runner.start()
            e.system.thread_id = loop_ident
            NODE.reset(token)
            getattr(ref, end)()
            assert await ref.wait_stopped() == (KILLED if end == "kill" else SHUTDOWN)
            assert (ran, e.system.actors) == ([], {})


async def test_an_idle_actor_is_kept_by_its_node(engine: AnyEngine, kind: AnyKind) -> None:
    """Trap 11: nobody else holds it."""
    async with engine() as e:
        probe = await e.probe()

        class Reporter(kind):  # type: ignore[misc, valid-type]
            def on_receive(self, message: Any) -> None:
                probe.ref.tell(message)

        number = (await e.spawn(Reporter)).id
        gc.collect()
        e.system.actors[number].tell("alive")
        await probe.expect("alive")


async def test_a_suspended_actor_is_kept_by_its_node(engine: AnyEngine, doer: AnyKind) -> None:
    """asyncio keeps its tasks weakly."""
    async with engine() as e:
        probe = await e.probe()
        wake: list[asyncio.Future[None]] = []

        async def wait(_actor: Doer) -> None:
            wake.append(asyncio.get_running_loop().create_future())
            await wake[0]
            probe.ref.tell("woken")

        (await e.spawn(doer)).tell(wait)
        await e.settle()
        gc.collect()
        wake[0].set_result(None)
        await probe.expect("woken")


# ----------------------------------------------------------------------------------------- hooks


@pytest.mark.parametrize(
    ("end", "hooks", "reason"),
    [
        ("stop", ["on_stop"], NORMAL),
        ("finish", ["on_stop"], Custom("done")),
        ("exit", [], Custom("done")),
        ("kill", [], KILLED),
        ("crash", ["on_failure"], None),
        ("system exit", ["on_stop"], None),
    ],
)
async def test_which_hook_an_end_runs(
    engine: AnyEngine, kind: AnyKind, end: str, hooks: list[str], reason: Any
) -> None:
    """S55: none for an untrapped signal or a kill."""
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(kind, heard)
        match end:
            case "stop":
                ref.tell(lambda actor: actor.stop())
            case "finish":
                ref.tell(lambda actor: actor.finish("done"))
            case "exit":
                ref.exit("done")
            case "kill":
                ref.kill()
            case "crash":
                ref.tell(ValueError())
            case "system exit":
                ref.tell(SystemExit())
        ended = await ref.wait_stopped()
        assert heard == hooks
        assert ended == reason if reason is not None else isinstance(ended, Crash)


async def test_an_actor_that_finishes_handles_nothing_more(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(kind, heard)
        ref.tell(door.hold)
        await door.reached
        ref.tell(lambda actor: actor.finish("done"))
        ref.tell("never")
        door.open()
        assert await ref.wait_stopped() == Custom("done")
        assert heard == ["on_stop"]


async def test_an_actor_that_exits_handles_nothing_more(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(kind, heard)
        ref.tell(door.hold)
        await door.reached
        ref.tell(lambda actor: actor.exit("done"))
        ref.tell("never")
        door.open()
        assert await ref.wait_stopped() == Custom("done")
        assert heard == []


@pytest.mark.parametrize("hook", ["on_stop", "on_failure"])
async def test_an_exception_in_a_hook_ends_the_actor_all_the_same(
    engine: AnyEngine, kind: AnyKind, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It becomes the reason of an end that was expected; a crash keeps its own."""
    caplog.set_level(logging.CRITICAL)
    first, second = ValueError("first"), ValueError("second")

    def fail(*_: Any) -> None:
        raise second

    async with engine() as e:
        ref = await e.spawn(type("Failing", (kind,), {hook: fail}))
        ref.tell(first) if hook == "on_failure" else ref.stop(block=False)
        assert await ref.wait_stopped() == Crash(first if hook == "on_failure" else second)


async def test_an_async_hook_is_awaited_before_the_end_is_told(
    engine: AnyEngine, door: Door
) -> None:
    class Slow(Actor):
        async def on_stop(self) -> None:
            await door.wait()

    async with engine() as e:
        probe = await e.probe()
        ref = await e.spawn(Slow)
        probe.monitor(ref)
        ref.stop(block=False)
        await door.reached
        await probe.no_message()
        assert ref.state == "stopping"
        ref.exit("too late, it is ending already")
        door.open()
        assert (await probe.receive()).reason == NORMAL


async def test_an_actor_killed_in_its_hook_is_dead_at_once(engine: AnyEngine, door: Door) -> None:
    class Slow(Actor):
        async def on_stop(self) -> None:
            await door.resist()

    async with engine() as e:
        ref = await e.spawn(Slow)
        stopped = ref.stop(block=False)
        await door.reached
        ref.kill()
        assert (ref.reason, stopped.done) == (KILLED, True)
        assert list(e.system.zombies.values()) == [ref]
        door.open()
        await e.settle()
        assert e.system.zombies == {}
