"""Where pykka 4.5 would surprise somebody who knows OTP, and what happens here instead.

Used pykka's way throughout: a node in a thread of its own, ``start``, ``ask``, ``proxy``, ``stop``
and the `ActorRegistry`. The numbers are those of ``docs/pykka.md`` where it has them.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import pykka
import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.mailbox import Bound
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply, get_all
from puckstream.actors.signals import KILLED, NORMAL, Crash
from puckstream.errors import ActorDead, CallTimeout, MailboxFull, StartFailed
from puckstream.node import Node

if TYPE_CHECKING:
    from tests.actors.conftest import Door

PATIENCE = 20.0


@pytest.fixture
def node() -> Iterator[Node]:
    """A node with a loop in a thread of its own, the current one for ``start``."""
    with Node() as node:
        yield node
    assert pykka.ActorRegistry.get_all() == []


def end_of(ref: ActorRef[Any]) -> Any:
    return ref.wait_stopped().get(timeout=PATIENCE)


# -- 1: an exception in an ask


def test_an_exception_in_an_ask_goes_to_the_asker_and_ends_the_actor(
    node: Node, kind: type[Any]
) -> None:
    ref = kind.start()
    with pytest.raises(ZeroDivisionError):
        ref.ask(lambda _actor: 1 // 0)
    reason = end_of(ref)
    assert isinstance(reason, Crash)
    assert isinstance(reason.error, ZeroDivisionError)


def test_ask_errors_reply_keeps_pykkas_rule_for_asks_and_not_for_tells(
    node: Node, kind: type[Any]
) -> None:
    class Forgiving(kind):  # type: ignore[misc,unused-ignore]
        ask_errors = "reply"

    ref = Forgiving.start()
    with pytest.raises(ZeroDivisionError):
        ref.ask(lambda _actor: 1 // 0)
    assert ref.ask("alive?") == "alive?"
    ref.tell(lambda _actor: 1 // 0)
    assert isinstance(end_of(ref), Crash)


# -- 2: start() returns before on_start


class BadStart(Actor):
    def on_start(self) -> None:
        raise ZeroDivisionError


def test_spawn_returns_after_on_start_and_raises_what_it_raised(node: Node) -> None:
    before = node._running.actors.keys()
    with pytest.raises(StartFailed) as caught:
        node.spawn(BadStart).get(timeout=PATIENCE)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert isinstance(caught.value.reason, Crash)
    assert node._running.actors.keys() == before


def test_start_leaves_a_dead_ref_if_on_start_fails_and_logs_it_once(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    ref = BadStart.start()
    assert isinstance(end_of(ref), Crash)
    assert not ref.is_alive()
    assert ref.actor_stopped.is_set()
    assert pykka.ActorRegistry.get_all() == []
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("anyone?")
    assert [record.levelname for record in caplog.records] == ["ERROR"]


# -- 3: a BaseException in a handler


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit, GeneratorExit])
def test_no_exception_ends_more_than_the_one_actor_and_its_asker_is_told(
    node: Node, kind: type[Any], error: type[BaseException]
) -> None:
    others = [kind.start() for _ in range(4)]
    ref = kind.start()

    def fail(_actor: Any) -> None:
        raise error

    with pytest.raises(ActorDead) as caught:
        ref.ask(fail, timeout=PATIENCE)
    assert isinstance(caught.value.__cause__, error)
    assert isinstance(end_of(ref).error, error)
    assert all(other.ask("alive?", timeout=PATIENCE) for other in others)


def test_a_cancelled_await_in_a_handler_ends_its_actor_alone(node: Node, doer: type[Any]) -> None:
    async def cancelled_inside(_actor: Any) -> None:
        loop = asyncio.get_running_loop()
        never = loop.create_future()
        loop.call_soon(never.cancel)
        await never

    other, ref = doer.start(), doer.start()
    with pytest.raises(ActorDead):
        ref.ask(cancelled_inside, timeout=PATIENCE)
    assert isinstance(end_of(ref), Crash)
    assert other.ask("alive?", timeout=PATIENCE) == "alive?"


# -- 4: an ask that races with a stop


@pytest.mark.parametrize("end", ["stop", "shutdown", "kill"])
def test_no_ask_that_races_with_an_end_stays_unanswered(
    node: Node, kind: type[Any], end: str
) -> None:
    askers, rounds, asks = 4, 15, 40
    for _ in range(rounds):
        ref = kind.start()
        ready = threading.Barrier(askers + 1)
        replies: list[Reply[Any]] = []

        def ask(ref: Any = ref, ready: Any = ready, replies: Any = replies) -> None:
            ready.wait(PATIENCE)
            replies.extend([ref.ask(number, block=False) for number in range(asks)])

        threads = [threading.Thread(target=ask) for _ in range(askers)]
        for thread in threads:
            thread.start()
        ready.wait(PATIENCE)
        if end == "stop":
            ref.stop(block=False)
        else:
            ref.exit(end)
        for thread in threads:
            thread.join(PATIENCE)
        assert len(replies) == askers * asks
        for reply in replies:
            try:
                reply.get(timeout=PATIENCE)
            except ActorDead:
                continue


def test_a_message_that_nobody_handles_is_a_dead_letter(node: Node, door: Door) -> None:
    class Held(Actor):
        def on_receive(self, message: Any) -> Any:
            return door.wait()

    ref = Held.start()
    ref.tell("held")
    door.reached.get(timeout=PATIENCE)
    ref.tell("never handled")
    node.spawn(Actor).get(timeout=PATIENCE)  # the loop has taken in what this thread sent before
    ref.kill()
    assert end_of(ref) == KILLED
    assert [letter.message for letter in node._running.dead_letters.recent] == ["never handled"]


# -- 5: a stop is a message at the tail


def test_stop_comes_after_what_is_queued_and_kill_before_it(node: Node, kind: type[Any]) -> None:
    heard: list[Any] = []
    for end in ("stop", "kill"):
        ref, held, go = kind.start(heard), threading.Event(), threading.Event()

        def hold(_actor: Any, held: Any = held, go: Any = go) -> None:
            held.set()
            assert go.wait(PATIENCE)

        if kind._threaded:
            ref.tell(hold)
            assert held.wait(PATIENCE)
        else:
            # The loop itself is held, so that everything below is queued before it goes on.
            node._running.post(hold, None)
            assert held.wait(PATIENCE)
        for number in range(200):
            ref.tell(number)
        over = ref.wait_stopped()
        if end == "stop":
            ref.stop(block=False)
        else:
            ref.kill()
        if kind._threaded and end == "kill":
            assert over.get(timeout=PATIENCE) == KILLED
        go.set()
        assert over.get(timeout=PATIENCE) == (NORMAL if end == "stop" else KILLED)
        if end == "stop":
            assert heard == [*range(200), "on_stop"]
            heard.clear()
    if kind._threaded:
        assert heard == []
    else:
        # Messages sent before the signal may have been delivered; the kill overtakes the rest.
        assert heard == list(range(len(heard)))


# -- 6: awaiting a future blocks the loop


async def test_awaiting_a_reply_lets_the_loop_go_on(kind: type[Any], door: Door) -> None:
    async with Node():
        ref = kind.start()
        reply = ref.ask(door.hold, block=False)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            for _ in range(50):
                await asyncio.sleep(0)
                ticks += 1
            door.open()

        ticking = asyncio.ensure_future(tick())
        await reply
        assert ticks == 50
        await ticking


# -- 7: derived futures hold the lock while they run foreign code


def test_a_second_get_on_a_slow_derived_reply_keeps_its_own_timeout(node: Node) -> None:
    source: Reply[int] = Reply()
    held, go = threading.Event(), threading.Event()

    def slow(timeout: float | None) -> int:
        held.set()
        assert go.wait(PATIENCE)
        return 2

    source.set_get_hook(slow)
    derived = source.map(lambda value: value + 1)
    first = threading.Thread(target=derived.get)
    first.start()
    assert held.wait(PATIENCE)
    with pytest.raises(CallTimeout):
        derived.get(timeout=0.001)
    go.set()
    first.join()
    assert derived.get() == 3


def test_a_map_may_ask_for_the_reply_it_is_made_from(node: Node) -> None:
    reply: Reply[int] = Reply()
    derived = reply.map(lambda value: value + reply.get())
    reply.set(4)
    assert derived.get(timeout=0) == 8


def test_one_timeout_is_for_all_replies_together() -> None:
    waiting: list[Reply[int]] = [Reply() for _ in range(1000)]
    with pytest.raises(CallTimeout):
        get_all(waiting, timeout=0.01)
    with pytest.raises(CallTimeout):
        waiting[0].join(*waiting[1:]).get(timeout=0.01)


# -- 8: a bounded inbox that an actor fills itself


@pytest.mark.parametrize(
    ("policy", "kept", "refusals"),
    [("refuse", "fits", ["too much"]), ("drop_new", "fits", []), ("drop_old", "too much", [])],
)
def test_an_actor_with_a_full_mailbox_can_stop_itself_and_is_told_if_it_tells_itself(
    node: Node, kind: type[Any], policy: Any, kept: str, refusals: list[str]
) -> None:
    class Small(kind):  # type: ignore[misc,unused-ignore]
        mailbox: ClassVar[Bound | None] = Bound(1, policy)

    refused: list[MailboxFull] = []

    def overfill(actor: Any) -> None:
        actor.actor_ref.tell("fits")
        try:
            actor.actor_ref.tell("too much")
        except MailboxFull as full:
            refused.append(full)
        actor.stop()

    heard: list[Any] = []
    ref = Small.start(heard)
    ref.tell(overfill)
    assert end_of(ref) == NORMAL
    assert heard == [kept, "on_stop"]
    assert [full.undelivered for full in refused] == refusals


# -- 9: proxies introspect the live object


def test_a_proxy_is_made_of_a_live_actor_and_refused_by_a_dead_one(
    node: Node, kind: type[Any]
) -> None:
    ref = kind.start()
    proxy: Any = ref.proxy()
    proxy.heard = ["replaced"]
    heard: Any = proxy.heard
    assert heard.get(timeout=PATIENCE) == ["replaced"]
    assert proxy.on_receive("via the proxy").get(timeout=PATIENCE) == "via the proxy"
    assert ref.stop(timeout=PATIENCE)
    with pytest.raises(pykka.ActorDeadError):
        ref.proxy()
    with pytest.raises(pykka.ActorDeadError):
        proxy.on_receive("too late").get(timeout=PATIENCE)


# -- 11: who keeps the actor


def test_an_idle_actor_is_kept_by_its_node_and_let_go_when_it_ends(
    node: Node, kind: type[Any]
) -> None:
    ref = kind.start()
    assert ref.ask("hello") == "hello"
    actor = weakref.ref(ref._actor)
    number = ref.id
    del ref
    gc.collect()
    assert actor() is not None
    found: Any = node._running.actors[number]
    assert found.stop(timeout=PATIENCE)
    node.close()
    gc.collect()
    assert actor() is None


# -- 12: logging


def test_starting_asking_and_stopping_logs_nothing_of_ours(
    node: Node, kind: type[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "puckstream")
    ref = kind.start()
    ref.ask("hello")
    ref.stop()
    assert [record for record in caplog.records if record.name.startswith("puckstream")] == []


def test_a_crash_is_logged_once_with_its_traceback(
    node: Node, kind: type[Any], caplog: pytest.LogCaptureFixture
) -> None:
    ref = kind.start()
    with pytest.raises(ZeroDivisionError):
        ref.ask(lambda _actor: 1 // 0)
    end_of(ref)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


# -- the registry


def test_the_registry_finds_actors_in_the_order_they_were_started(
    node: Node, kind: type[Any]
) -> None:
    refs = [kind.start() for _ in range(3)]
    assert pykka.ActorRegistry.get_all() == refs
    assert pykka.ActorRegistry.get_by_class(kind) == refs
    assert pykka.ActorRegistry.get_by_class_name(kind.__name__) == refs
    found: Any = pykka.ActorRegistry.get_by_urn(refs[1].actor_urn)
    assert found is refs[1]
    found.stop()
    assert pykka.ActorRegistry.get_all() == [refs[0], refs[2]]
    pykka.ActorRegistry.broadcast("all", kind)
    assert [ref.ask(lambda actor: actor.heard) for ref in (refs[0], refs[2])] == [["all"]] * 2
    assert pykka.ActorRegistry.stop_all(timeout=PATIENCE) == [True, True]


def test_actors_of_a_node_are_not_registered_unless_started_pykkas_way(node: Node) -> None:
    ref = node.spawn(Actor).get(timeout=PATIENCE)
    assert pykka.ActorRegistry.get_all() == []
    assert ref.stop(timeout=PATIENCE)


def test_starting_and_stopping_20_000_actors_never_searches_the_registry(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = 0

    def compare(self: object, other: object) -> bool:
        nonlocal compared
        compared += 1
        return self is other

    # A list that is searched compares the sought ref with every one before it.
    monkeypatch.setattr(ActorRef, "__eq__", compare)
    count = 20_000
    for _ in range(count):
        Actor.start()
    assert len(pykka.ActorRegistry.get_all()) == count
    assert pykka.ActorRegistry.stop_all(timeout=PATIENCE) == [True] * count
    assert pykka.ActorRegistry.get_all() == []
    assert compared < count
