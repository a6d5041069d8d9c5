"""Who follows a conversation, from where it is used, and what is refused."""

from __future__ import annotations

import pickle
import threading
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck
from tests.streams.chats import Follower, said, talk, told
from tests.streams.upstream import WAIT, Upstream, busy

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


# ----------------------------------------------------------------------------- late joiners


async def test_a_late_joiner_gets_a_snapshot_and_then_what_happens(stage: AnyStage) -> None:
    conversation, upstream = talk(("one",), ("par", WAIT, "t"))
    seen: list[Any] = []
    async with puck.Node() as node:
        await conversation.start(node)
        await (await conversation.submit("first")).wait()
        await stage.settle()
        stream = await conversation.submit("second")
        await stage.until(stage.reached(stream, 2))
        await node.spawn(Follower, conversation, None, seen)
        await stage.settle()
        (snapshot,) = [event.snapshot for event in seen]
        draft = snapshot.draft
        assert [message["content"] for message in snapshot.context] == ["first", "one"]
        assert (draft.n, draft.prompt, draft.content) == (2, "second", "par")
        # The text goes on where the snapshot ends, on the stream itself.
        rest = stream.subscribe(after=draft.seq)
        upstream.gate.open()
        events: list[Any] = [event async for event in rest]
        texts = [event.chunk.content for event in events if event.kind == "content"]
        assert texts == ["t"]
        await stage.settle()
    assert [event.kind for event in seen] == ["snapshot", "turn", "turn", "closed"]
    assert [event.seq for event in seen] == [4, 5, 6, 7]


async def test_joining_at_every_event_brings_everything_once(stage: AnyStage) -> None:
    conversation, _ = talk(("a",), ("b",), ("c", busy()), ("d",))
    joined: list[list[Any]] = []
    async with puck.Node() as node:
        await conversation.start(node)
        followers: list[puck.Reply[Any]] = []

        def join(_event: Any) -> None:
            seen: list[Any] = []
            joined.append(seen)
            followers.append(node.spawn(Follower, conversation, None, seen))

        conversation._table.history.on_append(join)
        for prompt in ("1", "2", "3"):
            await (await conversation.submit(prompt)).wait()
            await stage.settle()
        await (await conversation.retry()).wait()
        await stage.settle()
        events = told(conversation)
        await conversation.close()
    assert len(joined) >= 10
    for seen in joined[:-1]:
        snapshot, *rest = seen
        assert snapshot.kind == "snapshot"
        assert [event.seq for event in rest] == [*range(snapshot.seq + 1, len(events) + 2)]
        turns = [message["content"] for message in snapshot.snapshot.context]
        for event in rest:
            if event.kind == "cut":
                del turns[event.n :]
            elif event.kind == "turn":
                assert event.n == len(turns)
                turns.append(event.content)
        assert turns == said(conversation)


async def test_subscribing_again_is_subscribing_once(stage: AnyStage) -> None:
    conversation, _ = talk(("a",))
    seen: list[Any] = []
    async with puck.Node() as node:
        await conversation.start(node)
        ref = await node.spawn(Follower, conversation, None, seen)
        again = [conversation.subscribe(subscriber=ref) for _ in range(3)]
        for reply in again:
            await reply
        await (await conversation.submit("prompt")).wait()
        await stage.settle()
        await conversation.unsubscribe(subscriber=ref)
        await conversation.unsubscribe(subscriber=ref)
    assert [event.kind for event in seen] == ["snapshot", "answering", "turn", "turn"]


async def test_subscribing_twice_while_pubsub_is_down_is_subscribing_once(
    stage: AnyStage,
) -> None:
    conversation, _ = talk(("a",))
    seen: list[Any] = []

    class Bystander(Follower):
        async def on_start(self) -> None:
            pass

    async with puck.Node() as node:
        await conversation.start(node)
        ref = await node.spawn(Bystander, conversation, None, seen)
        await conversation.submit("prompt")
        stage.kill(node, "pubsub")
        replies = [conversation.subscribe(subscriber=ref) for _ in range(3)]
        assert not replies[0].done
        for reply in replies:
            await reply
        await conversation.wait_idle()
        await stage.settle()
    first = seen[0].seq
    assert [event.seq for event in seen] == [*range(first, first + len(seen))]
    assert [event.kind for event in seen].count("snapshot") == 1


async def test_after_a_number_everything_behind_it_comes(stage: AnyStage) -> None:
    conversation, _ = talk(("a",))
    all_: list[Any] = []
    later: list[Any] = []
    now: list[Any] = []
    async with puck.Node() as node:
        await conversation.start(node)
        await (await conversation.submit("prompt")).wait()
        await stage.settle()
        for after, seen in ((0, all_), (2, later), ("now", now)):
            await node.spawn(Follower, conversation, after, seen)
        await stage.settle()
    assert [event.seq for event in all_] == [1, 2, 3, 4]
    assert [event.seq for event in later] == [3, 4]
    assert [event.kind for event in now] == ["closed"]


async def test_a_follower_with_a_bounded_mailbox_gets_every_event_in_order(
    stage: AnyStage,
) -> None:
    """It fetches them one after the other; see puckstream/actors/feed.py."""
    conversation, _ = talk(("a",), when_busy="enqueue")

    class Narrow(Follower):
        mailbox = puck.Bound(2)

    seen: list[Any] = []
    async with puck.Node() as node:
        await conversation.start(node)
        await node.spawn(Narrow, conversation, None, seen)
        for number in range(20):
            await (await conversation.submit(f"{number}")).wait()
        await stage.settle()
    assert [event.seq for event in seen] == [*range(62)]


async def test_iterating_begins_with_a_snapshot_and_ends_with_closed(stage: AnyStage) -> None:
    conversation, _ = talk(("a",))
    async with puck.Node() as node:
        await conversation.start(node)
        await (await conversation.submit("prompt")).wait()
        await stage.settle()
        following = conversation.follow()
        everything = conversation.follow(after=0)
        assert (await anext(following)).kind == "snapshot"
        await conversation.close()
        assert [event.kind async for event in following] == ["closed"]
        kinds = [event.kind async for event in everything]
    assert kinds == ["answering", "turn", "turn", "closed"]
    # Also after the node's end.
    assert [event.kind for event in conversation.follow(after=2)] == ["turn", "closed"]


# -------------------------------------------------------------------- loop, actors and threads


def test_it_works_from_threads_alone() -> None:
    with puck.Node() as node:
        client = puck.Client(Upstream(("a", "b")))
        conversation = puck.Conversation(client).start(node).get()
        kinds: list[str] = []

        def follow() -> None:
            kinds.extend(event.kind for event in conversation.follow(after=0))

        thread = threading.Thread(target=follow)
        thread.start()
        assert conversation.submit("prompt").get().result().get().text == "ab"
        conversation.close().get()
        thread.join(10)
        assert conversation.snapshot().get().open is False
    assert kinds == ["answering", "turn", "turn", "closed"]


async def test_it_works_from_actors(stage: AnyStage) -> None:
    conversation, _ = talk(("a", "b"))
    heard: list[Any] = []

    class Asker(puck.Actor):
        async def on_start(self) -> None:
            await conversation.subscribe()
            stream = await conversation.submit("prompt")
            await self.node.subscribe(stream.id)

        def on_receive(self, message: Any) -> None:
            match message:
                case ("puck_stream", _, ("content", chunk)):
                    heard.append(chunk.content)
                case ("puck_conversation", _, ("turn", n, role, content)):
                    heard.append((n, role, content))

    async with puck.Node() as node:
        await conversation.start(node)
        await node.spawn(Asker)
        await stage.until(lambda: len(heard) == 4)
    assert sorted(map(str, heard)) == sorted(
        map(str, ["a", "b", (0, "user", "prompt"), (1, "assistant", "ab")])
    )


async def test_whoever_submits_is_not_subscribed_to_the_stream(stage: AnyStage) -> None:
    """The stream is the conversation's; its submitter follows it if it wants to."""
    conversation, _ = talk(("a",))
    got: list[Any] = []

    class Asker(puck.Actor):
        async def on_start(self) -> None:
            await (await conversation.submit("prompt")).wait()

        def on_receive(self, message: Any) -> None:
            got.append(message)

    async with puck.Node() as node:
        await conversation.start(node)
        await node.spawn(Asker)
        await stage.settle()
    assert got == []


async def test_an_answer_outlives_the_stream_whose_function_submitted_the_prompt(
    stage: AnyStage,
) -> None:
    conversation, upstream = talk(("a", WAIT, "b"))
    async with puck.Node() as node:
        await conversation.start(node)

        async def outer(_emit: Any) -> None:
            await conversation.submit("prompt")

        await (await node.start_stream(outer)).wait()
        await stage.settle()
        upstream.gate.open()
        await conversation.wait_idle()
    assert said(conversation) == ["prompt", "ab"]


async def test_it_is_found_by_its_id(stage: AnyStage) -> None:
    conversation, _ = talk((WAIT,), id="chat-7")
    async with puck.Node() as node:
        assert puck.Conversation.find(node, "chat-7") is None
        await conversation.start(node)
        found = puck.Conversation.find(node, "chat-7")
        assert found is not None
        await found.submit("prompt")
        assert (await conversation.snapshot()).draft is not None
        assert repr(found) == "<Conversation 'chat-7': open, 0 turns>"
        await conversation.close()
        assert puck.Conversation.find(node, "chat-7") is None


async def test_two_of_one_id_cannot_run_on_one_node() -> None:
    first, _ = talk(("a",), id="x")
    second, _ = talk(("a",), id="x")
    async with puck.Node() as node:
        await first.start(node)
        with pytest.raises(puck.NameTaken):
            await second.start(node)
        with pytest.raises(puck.NameTaken):
            await first.start(node)
        await first.close()
        await second.start(node)


async def test_it_cannot_run_on_two_nodes_at_once(caplog: pytest.LogCaptureFixture) -> None:
    conversation, _ = talk(("a",), ("b",), id="x")
    async with puck.Node() as node, puck.Node() as other:
        await conversation.start(node)
        with pytest.raises(puck.StartFailed, match="conversation='x'"):
            await conversation.start(other)
        await (await conversation.submit("1")).wait()
        await conversation.wait_idle()
        await conversation.close()
        await conversation.start(other)
        await (await conversation.submit("2")).wait()
        await conversation.wait_idle()
    assert said(conversation) == ["1", "a", "2", "b"]


async def test_many_are_started_at_once_and_share_one_supervisor() -> None:
    pairs = [talk(("a",)) for _ in range(10)]
    async with puck.Node() as node:
        for reply in [conversation.start(node) for conversation, _ in pairs]:
            await reply
        homes = [row for row in node.tree().walk() if row.id == "conversations"]
        assert [len(home.children) for home in homes] == [10]


async def test_a_supervisor_of_ones_own_can_be_its_home() -> None:
    conversation, _ = talk(("a",), id="x")
    home = puck.child(puck.DynamicSupervisor, id="chats", name="chats")
    async with puck.Node([home]) as node:
        chats: Any = node.whereis("chats")
        await conversation.start(node, under=chats)
        (row,) = [row for row in node.tree().walk() if row.id == "chats"]
        assert [one.id for one in row.children] == ["conversation x"]


async def test_it_is_a_child_like_any_other(stage: AnyStage) -> None:
    conversation, _ = talk(("a",), id="x")
    async with puck.Node([conversation.child_spec()]) as node:
        await (await conversation.submit("prompt")).wait()
        await stage.settle()
        assert "idle · 2 turns" in str(node.tree())
    assert said(conversation) == ["prompt", "a"]


# ------------------------------------------------------------------------------- wrong input


WRONG: dict[str, Any] = {
    "no client": (lambda: puck.Conversation("scripted:"), "client='scripted:'"),  # type: ignore[arg-type]
    "an odd policy": (lambda: talk(when_busy="wait"), "when_busy='wait'"),
    "no flag": (lambda: talk(keep_stopped="yes"), "keep_stopped='yes'"),
    "a negative number": (lambda: talk(max_waiting=-1), "max_waiting=-1"),
    "an empty id": (lambda: talk(id=""), "stream_id=''"),
    "no context": (lambda: talk(context=[]), "context="),
    "a timeout of nothing": (lambda: talk(timeout=0), "timeout=0"),
    "its own option": (lambda: talk(stream_id="x"), "stream_id='x'"),
    "no policy": (lambda: talk()[0].submit("x", when_busy="now"), "when_busy='now'"),  # type: ignore[arg-type]
    "no prompt": (lambda: talk()[0].submit(7), "prompt=7"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("make", "named"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_is_refused_by_name(make: Any, named: str) -> None:
    with pytest.raises(puck.InvalidOption) as refused:
        make()
    assert named in str(refused.value)


async def test_a_place_that_cannot_be_is_refused_by_name() -> None:
    conversation, _ = talk(("a",))
    async with puck.Node() as node:
        await conversation.start(node)
        with pytest.raises(puck.InvalidOption, match="after=-1"):
            conversation.follow(after=-1)
        with pytest.raises(puck.NotInActor):
            conversation.subscribe()


async def test_before_its_start_everything_says_so() -> None:
    conversation, _ = talk(("a",))
    for use in (
        lambda: conversation.submit("x"),
        conversation.retry,
        conversation.stop,
        conversation.snapshot,
        conversation.follow,
        conversation.close,
    ):
        with pytest.raises(puck.NodeNotRunning, match="not been started"):
            use()
    with pytest.raises(puck.NodeNotRunning):
        conversation.start(puck.Node())


# ------------------------------------------------------------------------------------ events


async def test_events_can_be_sent_as_json_and_pickled(stage: AnyStage, clock: Clock) -> None:
    conversation, _ = talk(("a",), ("b", busy()), ("c", WAIT), id="x")
    async with puck.Node(clock=clock) as node:
        await conversation.start(node)
        for prompt in ("1", "2"):
            await (await conversation.submit(prompt)).wait()
            await stage.settle()
        await conversation.submit("3")
        await stage.settle()
        await conversation.stop()
        snapshot = await anext(conversation.follow())
        events = [snapshot, *told(conversation)]
    for event in events:
        as_dict = event.to_dict("x")
        assert (as_dict["conversation"], as_dict["seq"]) == ("x", event.seq)
        assert as_dict["type"] == event.kind
        if event.kind == "snapshot":
            continue
        copy = pickle.loads(pickle.dumps(event))
        assert (type(copy), copy.seq, copy.to_dict("x")) == (type(event), event.seq, as_dict)
    messages = snapshot.to_dict("x")["snapshot"]["messages"]
    assert [message["content"] for message in messages] == said(conversation)
    assert "'1'" not in repr(snapshot)


# ----------------------------------------------------------------------------- what could go wrong


async def test_a_step_that_is_cancelled_loses_no_snapshot(stage: AnyStage) -> None:
    conversation, _ = talk()
    async with puck.Node() as node:
        await conversation.start(node)
        following = conversation.follow()
        assert following._look().found[0].kind == "snapshot"  # and nobody took it
        assert (await anext(following)).kind == "snapshot"


async def test_the_end_of_a_former_life_is_not_told_in_the_next(stage: AnyStage) -> None:
    conversation, _ = talk(("one",), ("two",))
    seen: list[Any] = []
    async with puck.Node() as node:
        await conversation.start(node)
        await (await conversation.submit("first")).wait()
        await conversation.wait_idle()
        await conversation.close()
        await conversation.start(node)
        following = conversation.follow(after=0)
        await node.spawn(Follower, conversation, 0, seen)
        await (await conversation.submit("second")).wait()
        await conversation.wait_idle()
        await conversation.close()
        events = [event async for event in following]
        await stage.settle()
    exchange = ["answering", "turn", "turn"]
    assert [event.kind for event in events] == [*exchange, *exchange, "closed"]
    assert seen == events


async def test_a_small_mailbox_loses_no_snapshot(stage: AnyStage) -> None:
    conversation, _ = talk()
    seen: list[Any] = []

    class Small(Follower):
        mailbox = puck.Bound(2, policy="drop_old")

    async with puck.Node() as node:
        await conversation.start(node)
        small = await node.spawn(Small, conversation, "now", seen)
        await conversation.unsubscribe(subscriber=small)
        subscribed = conversation.subscribe(subscriber=small)
        for _ in range(3):
            small.tell(("puck_conversation", conversation.id, "noise"))
        await subscribed
        await stage.settle()
    assert next(event for event in seen if event != "noise").kind == "snapshot"
