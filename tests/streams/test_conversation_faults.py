"""A conversation whose actor, stream or infrastructure is lost at any moment of its life."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck
from puckstream.telemetry import StreamStarted
from tests.streams.chats import Follower, said, talk, told
from tests.streams.upstream import WAIT, Upstream, busy

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]

REQUEST = contextvars.ContextVar("request", default="none")


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Injected faults fill pages with tracebacks."""
    caplog.set_level(logging.CRITICAL + 1)


def lose(conversation: puck.Conversation, way: str) -> None:
    """Kill the conversation's actor, or have it raise in its next handler."""
    ref = conversation.ref
    assert ref is not None
    if way == "kill":
        ref.kill()
    elif ref._actor is not None:
        actor: Any = ref._actor
        actor.on_receive = _raise
        ref._deliver("anything")


def _raise(_message: Any) -> None:
    raise RuntimeError("injected")


def spent(conversation: puck.Conversation, prompts: int) -> list[str]:
    """Say what is wrong with the events: they must tell the turns, and each answer's one end."""
    turns: list[Any] = []
    answering = False
    wrong: list[str] = []
    for event in told(conversation):
        if event.kind == "answering":
            if answering:
                wrong.append(f"{event} before the end of the one before")
            answering = True
            prompts -= 1
        elif event.kind == "turn":
            if event.n != len(turns):
                wrong.append(f"{event} is turn {len(turns)}")
            turns.append(event.content)
            answering = answering and event.role == "user"
        elif event.kind == "cut":
            del turns[event.n :]
        else:
            answering = False
    if turns != said(conversation):
        wrong.append(f"{turns} were told, and {said(conversation)} are there")
    if prompts:
        wrong.append(f"{prompts} prompts were not answered")
    return wrong


# ------------------------------------------------------------------- the actor is lost


@pytest.mark.parametrize("way", ["kill", "crash"])
async def test_an_actor_lost_while_the_answer_is_written_loses_nothing(
    stage: AnyStage, way: str
) -> None:
    conversation, upstream = talk(("a", WAIT, "b"))
    async with puck.Node() as node:
        await conversation.start(node)
        before = conversation.ref
        stream = await conversation.submit("prompt")
        await stage.until(stage.reached(stream, 2))
        lose(conversation, way)
        await stage.settle()
        assert conversation.ref is not before
        upstream.gate.open()
        await stream.wait()
        await stage.settle()
        assert said(conversation) == ["prompt", "ab"]
    assert upstream.calls == 1


@pytest.mark.parametrize("way", ["kill", "crash"])
async def test_an_actor_lost_before_it_has_seen_the_prompt_is_followed_by_one_that_does(
    stage: AnyStage, way: str
) -> None:
    conversation, upstream = talk(("a",))
    async with puck.Node() as node:
        await conversation.start(node)
        lose(conversation, way)
        stream = await conversation.submit("prompt")
        await stream.wait()
        await stage.settle()
        assert said(conversation) == ["prompt", "a"]
    assert upstream.calls == 1


@pytest.mark.parametrize("way", ["kill", "crash"])
async def test_an_actor_lost_between_the_end_and_its_reading_loses_nothing(
    stage: AnyStage, way: str
) -> None:
    conversation, upstream = talk(("a", WAIT))
    async with puck.Node() as node:
        await conversation.start(node)
        stream = await conversation.submit("prompt")
        await stage.until(stage.reached(stream, 2))
        stage.log(stream).on_end(lambda _event: lose(conversation, way))
        upstream.gate.open()
        await stream.wait()
        await stage.settle()
        assert said(conversation) == ["prompt", "a"]
        assert [event.kind for event in told(conversation)] == ["answering", "turn", "turn"]
    assert upstream.calls == 1


async def test_prompts_that_wait_outlive_the_actor(stage: AnyStage) -> None:
    conversation, upstream = talk((WAIT, "a"), ("b",), when_busy="enqueue")
    async with puck.Node() as node:
        await conversation.start(node)
        replies = [conversation.submit(prompt) for prompt in ("first", "second")]
        await stage.settle()
        lose(conversation, "kill")
        upstream.gate.open()
        for reply in replies:
            await (await reply).wait()
        await stage.settle()
        assert said(conversation) == ["first", "a", "second", "b"]
    assert upstream.calls == 2


async def test_an_order_an_actor_dies_of_fails_and_the_next_actor_goes_on(
    stage: AnyStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation, _ = talk(("a",))
    async with puck.Node() as node:
        await conversation.start(node)
        with monkeypatch.context() as patched:
            patched.setattr(
                "puckstream.streams.conversation_actor.generate_id", lambda: _raise(None)
            )
            with pytest.raises(RuntimeError, match="injected"):
                await conversation.submit("odd")
        await (await conversation.submit("prompt")).wait()
        await stage.settle()
        assert said(conversation) == ["prompt", "a"]


async def test_followers_see_every_event_once_whoever_is_lost(stage: AnyStage) -> None:
    conversation, _ = talk(("a",), ("b",), ("c",), ("d",), when_busy="enqueue")
    seen: list[Any] = []
    async with puck.Node() as node:
        await conversation.start(node)
        await node.spawn(Follower, conversation, 0, seen)
        table = conversation._table
        losses = iter(["pubsub", "actor", "pubsub", "streams", "actor"])

        def lose_somebody(_event: Any) -> None:
            match next(losses, None):
                case "actor":
                    lose(conversation, "kill")
                case str(name):
                    stage.kill(node, name)
                case None:
                    pass

        table.history.on_append(lose_somebody)
        for prompt in "1234":
            await (await conversation.submit(prompt)).wait()
        await stage.until(lambda: len(conversation.context) == 8)
        await conversation.close()
        await stage.settle()
    assert [event.seq for event in seen] == [*range(1, len(seen) + 1)]
    assert seen[-1].kind == "closed"
    assert spent(conversation, 4) == []


# -------------------------------------------------------------- the answer comes to nothing


async def test_a_failure_leaves_the_turns_and_tells_what_was_written(stage: AnyStage) -> None:
    conversation, _ = talk(("one",), ("par", busy()))
    async with puck.Node() as node:
        await conversation.start(node)
        await (await conversation.submit("first")).wait()
        await stage.settle()
        await (await conversation.submit("second")).wait()
        await stage.settle()
        assert said(conversation) == ["first", "one"]
        kind, n, reason, content = told(conversation)[-1]
        assert (kind, n, reason.kind, content) == ("failed", 2, "overloaded", "par")


async def test_a_killed_stream_actor_is_a_failure(stage: AnyStage) -> None:
    conversation, _ = talk(("par", WAIT), ("fine",))
    async with puck.Node() as node:
        await conversation.start(node)
        stream = await conversation.submit("prompt")
        await stage.until(stage.reached(stream, 2))
        stage.owner(node, stream).kill()
        await stream.wait()
        await stage.settle()
        assert said(conversation) == []
        assert told(conversation)[-1][2].kind == "killed"
        await (await conversation.submit("again")).wait()
        await stage.settle()
        assert said(conversation) == ["again", "fine"]


async def test_a_clock_that_runs_out_keeps_nothing(stage: AnyStage, clock: Clock) -> None:
    conversation, _ = talk(("par", WAIT), timeout=puck.Timeout(idle=2.0))
    async with puck.Node(clock=clock) as node:
        await conversation.start(node)
        await conversation.submit("prompt")
        await stage.settle()
        await clock.elapse(2.0)
        assert said(conversation) == []
        assert tuple(told(conversation)[-1]) == ("stopped", 0, "timeout_idle", "par")


async def test_a_stream_that_is_refused_is_told_to_who_asked(stage: AnyStage) -> None:
    conversation, upstream = talk(("a",))
    async with puck.Node(limits=1) as node:
        await conversation.start(node)
        feed = stage.Feed()
        await node.start_stream(feed.source)
        with pytest.raises(puck.TooManyStreams):
            await conversation.submit("prompt")
        assert told(conversation) == []
        feed.end()
        await stage.settle()
        await (await conversation.submit("prompt")).wait()
        await stage.settle()
        assert said(conversation) == ["prompt", "a"]
    assert upstream.calls == 1


async def test_what_a_superseded_stream_still_says_touches_nothing(stage: AnyStage) -> None:
    """Its source swallows the cancel and goes on; its text belongs to nobody."""
    going_on = asyncio.Event()

    class Deaf(Upstream):
        async def _do(self, item: Any) -> bool:
            if self.calls == 1 and item == "late":
                while not going_on.is_set():
                    try:
                        await going_on.wait()
                    except asyncio.CancelledError:
                        continue
            return await super()._do(item)

    upstream = Deaf(("early ", "late"), ("other", WAIT, " answer"))
    conversation = puck.Conversation(puck.Client(upstream), when_busy="interrupt")
    async with puck.Node() as node:
        await conversation.start(node)
        first = await conversation.submit("first")
        await stage.until(stage.reached(first, 2))
        second = await conversation.submit("second")
        await stage.until(stage.reached(second, 2))
        going_on.set()
        await stage.settle()
        draft = (await conversation.snapshot()).draft
        assert draft is not None
        assert (draft.stream_id, draft.content) == (second.id, "other")
        upstream.gate.open()
        await second.wait()
        await stage.settle()
        assert said(conversation) == ["first", "early ", "second", "other answer"]


# ----------------------------------------------------------------------------------- the end


async def test_close_ends_the_answer_and_refuses_what_waits(stage: AnyStage) -> None:
    conversation, upstream = talk(("par", WAIT), when_busy="enqueue")
    async with puck.Node() as node:
        await conversation.start(node)
        stream = await conversation.submit("first")
        await stage.until(stage.reached(stream, 2))
        waiting = conversation.submit("second")
        await conversation.close()
        await conversation.close()
        end = await stage.ended(stream)
        assert (end.kind, end.reason) == ("cancelled", "abandoned")
        with pytest.raises(puck.ActorDead, match=conversation.id):
            await waiting
        for use in (conversation.submit("x"), conversation.retry(), conversation.stop()):
            with pytest.raises(puck.ActorDead):
                await use
        with pytest.raises(puck.ActorDead):
            await conversation.subscribe(subscriber=node.app)
        kinds = [event.kind for event in told(conversation)]
        assert kinds == ["answering", "stopped", "closed"]
        assert said(conversation) == []
        await stage.settle()
        assert upstream.open_now == 0


async def test_close_refuses_a_prompt_whose_stream_is_being_opened(stage: AnyStage) -> None:
    conversation, upstream = talk(("never",))
    async with puck.Node() as node:
        await conversation.start(node)
        submitted, closing = conversation.submit("prompt"), conversation.close()
        stage.kill(node, "streams")
        await closing
        with pytest.raises(puck.ActorDead):
            await submitted
        await stage.settle()
    assert [event.kind for event in told(conversation)][-1] == "closed"
    assert upstream.open_now == 0


async def test_a_closed_conversation_can_be_started_again(stage: AnyStage) -> None:
    conversation, _ = talk(("a",), ("b",))
    async with puck.Node() as node:
        await conversation.start(node)
        await (await conversation.submit("1")).wait()
        await stage.settle()
        await conversation.close()
        await conversation.start(node)
        await (await conversation.submit("2")).wait()
        await stage.settle()
        assert said(conversation) == ["1", "a", "2", "b"]
        numbers = [event.seq for event in conversation.follow(after=0)._look().found]
        # Without the end of its first life, which is no end any more.
        assert numbers == [1, 2, 3, 5, 6, 7]


async def test_the_shutdown_of_the_node_closes_it_and_leaves_nobody_waiting(
    stage: AnyStage,
) -> None:
    conversation, _ = talk(("par", WAIT), when_busy="enqueue")
    seen: list[Any] = []
    async with puck.Node() as node:
        await conversation.start(node)
        stream = await conversation.submit("first")
        waiting = conversation.submit("second")
        await node.spawn(Follower, conversation, None, seen)
        following = conversation.follow(after="now")
    with pytest.raises(puck.ActorDead):
        await waiting
    with pytest.raises(puck.ActorDead):
        await conversation.submit("third")
    assert (await stream.wait()).kind == "cancelled"
    assert seen[-1].kind == "closed"
    assert [event.kind async for event in following][-1] == "closed"
    assert (await conversation.snapshot()).open is False
    assert stage.nothing_left(node)


async def test_a_supervisor_that_gives_up_leaves_nobody_waiting(stage: AnyStage) -> None:
    conversation, _ = talk((WAIT,), when_busy="enqueue")
    other, _ = talk((WAIT,))
    async with puck.Node() as node:
        for one in (conversation, other):
            await one.start(node)
        stream = await conversation.submit("first")
        waiting = conversation.submit("second")
        for _ in range(4):
            lose(conversation, "kill")
            await stage.settle()
        with pytest.raises(puck.ActorDead):
            await waiting
        assert (await stage.ended(stream)).reason == "abandoned"
        with pytest.raises(puck.ActorDead):
            await other.submit("prompt")
        # Another is soon started in the same place.
        await stage.settle()
        await conversation.start(node)
        await conversation.submit("again")


async def test_a_conversation_of_the_apps_list_is_restarted_with_its_group(
    stage: AnyStage,
) -> None:
    conversation, _ = talk(("a",), ("b",))

    class Other(puck.Actor):
        pass

    async with puck.Node([Other, conversation.child_spec()], strategy="one_for_all") as node:
        await (await conversation.submit("1")).wait()
        await stage.settle()
        (other,) = [row.ref for row in node.tree().walk() if row.id == "Other"]
        other.kill()
        await stage.settle()
        await (await conversation.submit("2")).wait()
        await stage.settle()
        assert said(conversation) == ["1", "a", "2", "b"]


async def test_no_schedule_of_losses_costs_a_turn_or_asks_twice(stage: AnyStage) -> None:
    """Seeded; a failure names its seed."""
    for seed in range(120):
        chance = random.Random(seed)
        answers = [
            chance.choice([("a",), ("a", WAIT, "b"), (WAIT,), ("a", busy())]) for _ in range(12)
        ]
        conversation, upstream = talk(*answers, when_busy="enqueue")
        upstream.gate.open()
        clock = stage.Clock()
        async with puck.Node(clock=clock) as node:
            await conversation.start(node)
            replies: list[puck.Reply[puck.Stream]] = []
            for _ in range(chance.randrange(4, 12)):
                replies.append(conversation.submit(f"{len(replies)}"))
                if chance.random() < 0.4:
                    lose(conversation, chance.choice(["kill", "crash"]))
                    clock.advance(2.0)
                if chance.random() < 0.2:
                    stage.kill(node, chance.choice(["pubsub", "registry", "streams"]))
                    clock.advance(2.0)
                if chance.random() < 0.3:
                    replies.append(conversation.submit("!", when_busy="interrupt"))
                if chance.random() < 0.2:
                    replies.append(conversation.retry())
                if chance.random() < 0.1:
                    conversation.stop()
                await stage.turns(chance.randrange(6))
            started = 0
            for reply in replies:
                try:
                    await (await reply).wait()
                    started += 1
                except (puck.StreamCancelled, puck.NothingToRetry):
                    pass
            await stage.settle()
            assert spent(conversation, started) == [], f"seed {seed}"
            assert upstream.calls <= started, f"seed {seed}: asked twice"
        assert stage.nothing_left(node), f"seed {seed}"


# --------------------------------------------------------------------------------- telemetry


async def test_its_streams_say_whose_they_are_and_start_in_their_submitters_context(
    stage: AnyStage,
) -> None:
    conversation, _ = talk(("a",), ("b",), id="chat-7", when_busy="enqueue")
    seen: list[Any] = []

    def handler(record: Any) -> None:
        if isinstance(record, StreamStarted):
            seen.append((record.conversation, REQUEST.get(), record.parent))

    async with puck.Node() as node:
        node.telemetry.attach(handler)
        await conversation.start(node)
        replies: list[Any] = []
        for name in ("first", "second"):
            REQUEST.set(name)
            replies.append(conversation.submit(name))
        for reply in replies:
            await (await reply).wait()
        await stage.settle()
    assert seen == [("chat-7", "first", None), ("chat-7", "second", None)]
