"""PubSub: who gets which message, and in which order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from puckstream.errors import ActorDead, InvalidOption, NotInActor
from puckstream.node import Node
from puckstream.testing.clock import VirtualClock
from tests.actors.press import TOPIC, Feed, Press, Reader, Small, Threaded, got


async def test_every_subscriber_gets_one_copy_in_the_order_of_publication() -> None:
    """S68, S70: however often it subscribed."""
    async with Press() as press:
        readers = await press.readers(3)
        await press.pubsub.subscribe(TOPIC, readers[0])
        for number in range(100):
            press.pubsub.broadcast(TOPIC, number)
        await press.settle()
        assert [got(reader) for reader in readers] == [list(range(100))] * 3
        assert press.pubsub.subscribers(TOPIC) == tuple(readers)


async def test_a_broadcast_without_subscribers_goes_nowhere() -> None:
    """S69, S70: nobody who comes later gets it."""
    async with Press() as press:
        press.pubsub.broadcast(TOPIC, 1)
        (reader,) = await press.readers(1)
        await press.settle()
        assert got(reader) == []


async def test_the_sender_can_be_left_out() -> None:
    """S69: and only it."""
    async with Press() as press:
        one, two = await press.readers(2)
        stranger = press.reader()
        press.pubsub.broadcast(TOPIC, "from one", sender=one)
        press.pubsub.broadcast(TOPIC, "from a stranger", sender=stranger)
        await press.settle()
        assert got(one) == ["from a stranger"]
        assert got(two) == ["from one", "from a stranger"]


async def test_an_actor_subscribes_itself_and_leaves_by_itself() -> None:
    """S68: leaving without being there is no error."""
    async with Press() as press:
        reader = press.reader()
        await reader.call(lambda: press.pubsub.subscribe(TOPIC).done)
        press.pubsub.broadcast(TOPIC, 1)
        await press.settle()
        for _ in range(2):
            await reader.call(lambda: press.pubsub.unsubscribe(TOPIC).done)
        press.pubsub.broadcast(TOPIC, 2)
        await press.settle()
        assert got(reader) == [1]
        assert press.pubsub.subscribers(TOPIC) == ()
        assert not press.watching


async def test_nobody_can_be_subscribed_where_no_actor_calls() -> None:
    """S68."""
    async with Press() as press:
        for use in (press.pubsub.subscribe, press.pubsub.unsubscribe):
            with pytest.raises(NotInActor):
                use(TOPIC)


async def test_topics_do_not_mix_even_if_one_begins_like_the_other() -> None:
    """S68: the topic of stream ``1`` never receives ``10``."""
    async with Press() as press:
        topics = ["", "s:1", "s:10", "s:1:0", "s:*"]
        readers = {topic: (await press.readers(1, topic))[0] for topic in topics}
        for topic in topics:
            press.pubsub.broadcast(topic, topic)
        await press.settle()
        assert {topic: got(reader) for topic, reader in readers.items()} == {
            topic: [topic] for topic in topics
        }


async def test_the_dead_are_removed_and_hurt_nobody() -> None:
    """S68, S70."""
    async with Press() as press:
        readers = await press.readers(3)
        await press.pubsub.subscribe("other", readers[0])
        readers[0].kill()
        press.pubsub.broadcast(TOPIC, 1)
        assert press.pubsub.subscribers(TOPIC) == tuple(readers[1:])
        await press.settle()
        assert [got(reader) for reader in readers[1:]] == [[1], [1]]
        table = press.pubsub._table
        assert set(table.by_ref) == set(table.monitors) == set(readers[1:])
        assert set(table.by_topic) == {TOPIC}


async def test_the_dead_cannot_subscribe() -> None:
    """S68."""
    async with Press() as press:
        reader = press.reader()
        reader.kill()
        with pytest.raises(ActorDead):
            await press.pubsub.subscribe(TOPIC, reader)
        assert press.pubsub._table.by_topic == {}


async def test_each_publishers_messages_arrive_in_its_order_from_threads_too() -> None:
    """S70."""
    async with Press() as press:
        (reader,) = await press.readers(1)

        def publish(name: str) -> None:
            for number in range(200):
                press.pubsub.broadcast(TOPIC, (name, number))

        await asyncio.gather(*(asyncio.to_thread(publish, name) for name in "abc"))
        await press.settle()
        messages = got(reader)
        for name in "abc":
            assert [number for who, number in messages if who == name] == list(range(200))


async def test_any_kind_of_actor_can_subscribe_and_a_full_one_concerns_nobody_else() -> None:
    """S70: what a full mailbox refuses becomes a dead letter."""
    async with Press() as press:
        in_thread: list[Any] = []
        threaded = press.reader(Threaded, in_thread)
        small, reader = press.reader(Small), press.reader()
        for ref in (small, threaded, reader):
            await press.pubsub.subscribe(TOPIC, ref)
        for number in range(5):
            press.pubsub.broadcast(TOPIC, number)
        await press.settle()
        await threaded.stop(block=False)
        assert in_thread == got(reader) == list(range(5))
        assert got(small) == [0, 1]
        assert [letter.message for letter in press.system.dead_letters.recent] == [2, 3, 4]


async def test_what_is_no_topic_is_refused_in_the_caller() -> None:
    async with Press() as press:
        wrong: Any = ["a list"]
        with pytest.raises(InvalidOption):
            press.pubsub.subscribe(wrong, press.reader())
        with pytest.raises(InvalidOption):
            press.pubsub.broadcast(wrong, 1)
        for after in (-1, 1.5, "later", True):
            position: Any = after
            with pytest.raises(InvalidOption):
                press.pubsub.subscribe(TOPIC, press.reader(), feed=Feed("a"), after=position)
        assert press.actor.is_alive()


# ------------------------------------------------------------------------ dispatchers, and nodes


async def test_a_dispatcher_gets_all_subscribers_and_their_metadata_at_once() -> None:
    """S72: the message is encoded once, and each subscriber told what suits it."""
    calls: list[Any] = []

    def dispatch(entries: Any, sender: Any, message: Any) -> None:
        calls.append((entries, sender, message))
        encoded = message.upper()
        for ref, metadata in entries:
            if ref is not sender:
                ref.tell(encoded if metadata == "loud" else message)

    async with Press() as press:
        one, two, three, dead = (press.reader() for _ in range(4))
        await press.pubsub.subscribe(TOPIC, one, metadata="loud")
        await press.pubsub.subscribe(TOPIC, two)
        await press.pubsub.subscribe(TOPIC, three, metadata={"any": "value"})
        await press.pubsub.subscribe(TOPIC, dead, metadata="loud")
        dead.kill()
        press.pubsub.broadcast(TOPIC, "hey", sender=three, dispatcher=dispatch)
        await press.settle()
        entries = [(one, "loud"), (two, None), (three, {"any": "value"})]
        assert calls == [(entries, three, "hey")]
        assert [got(one), got(two), got(three)] == [["HEY"], ["hey"], []]


async def test_a_dispatcher_is_not_called_where_nobody_subscribes() -> None:
    """S72."""
    calls: list[Any] = []
    async with Press() as press:
        press.pubsub.broadcast(TOPIC, 1, dispatcher=lambda *call: calls.append(call))
        await press.settle()
        assert calls == []


async def test_a_dispatcher_that_fails_is_reported_and_costs_nobody_else_anything(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """S72."""

    def fail(*_call: Any) -> None:
        raise RuntimeError("no such encoding")

    async with Press() as press:
        (reader,) = await press.readers(1)
        press.pubsub.broadcast(TOPIC, 1, dispatcher=fail)
        press.pubsub.broadcast(TOPIC, 2)
        await press.settle()
        assert got(reader) == [2]
        assert press.actor.is_alive()
        assert "no such encoding" in caplog.text


async def test_metadata_is_that_of_the_last_subscription_and_gone_with_it() -> None:
    """S68, S72: also across a restart of the actor."""
    seen: list[Any] = []

    def look(entries: Any, *_rest: Any) -> None:
        seen.append([metadata for _, metadata in entries])

    async with Press() as press:
        reader = press.reader()
        await press.pubsub.subscribe(TOPIC, reader, metadata=1)
        await press.pubsub.subscribe(TOPIC, reader)
        press.pubsub.broadcast(TOPIC, None, dispatcher=look)
        await press.settle()
        await press.pubsub.subscribe(TOPIC, reader, metadata=2)
        press.actor.kill()
        press.employ()
        press.pubsub.broadcast(TOPIC, None, dispatcher=look)
        await press.pubsub.unsubscribe(TOPIC, reader)
        await press.pubsub.subscribe(TOPIC, reader)
        press.pubsub.broadcast(TOPIC, None, dispatcher=look)
        await press.settle()
        assert seen == [[1], [2], [None]]
        reader.kill()
        await press.settle()
        assert press.pubsub._table.metadata == {}


async def test_a_local_broadcast_and_one_to_this_node_reach_its_subscribers() -> None:
    """S69: one to a node nobody knows reaches nobody, and is no error."""
    async with Node(name="here") as node:
        one, two = [await node.spawn(Reader) for _ in range(2)]
        for reader in (one, two):
            await node.pubsub.subscribe(TOPIC, reader)
        node.pubsub.local_broadcast(TOPIC, "local", sender=one)
        node.pubsub.direct_broadcast("here", TOPIC, "direct", sender=two)
        node.pubsub.direct_broadcast("elsewhere", TOPIC, "lost")
        node.broadcast(TOPIC, "everywhere", sender=one)
        await VirtualClock.settle()
        assert (got(one), got(two)) == (["direct"], ["local", "everywhere"])
    async with Press() as press:
        (reader,) = await press.readers(1)
        press.pubsub.direct_broadcast("here", TOPIC, "an engine without a node has no name")
        await press.settle()
        assert got(reader) == []


async def test_what_a_broadcast_cannot_use_is_refused_in_the_caller() -> None:
    """S69, S72."""
    async with Press() as press:
        wrong: Any = "a name"
        with pytest.raises(InvalidOption, match="sender="):
            press.pubsub.broadcast(TOPIC, 1, sender=wrong)
        with pytest.raises(InvalidOption, match="dispatcher="):
            press.pubsub.local_broadcast(TOPIC, 1, dispatcher=wrong)
        nobody: Any = None
        with pytest.raises(InvalidOption, match="node="):
            press.pubsub.direct_broadcast(nobody, TOPIC, 1)
        with pytest.raises(InvalidOption, match="topic="):
            press.pubsub.direct_broadcast("elsewhere", nobody, 1)


async def test_there_is_no_pool_whose_size_nodes_would_have_to_agree_on() -> None:
    """S71: one actor delivers, however many topics and publishers there are."""
    async with Node() as node:
        readers = [await node.spawn(Reader) for _ in range(20)]
        for number, reader in enumerate(readers):
            await node.pubsub.subscribe(f"topic {number}", reader)
            node.pubsub.broadcast(f"topic {number}", number)
        await VirtualClock.settle()
        assert [got(reader) for reader in readers] == [[number] for number in range(20)]
        delivering = [each for each in node.tree().walk() if each.id == "pubsub"]
        assert len(delivering) == 1
