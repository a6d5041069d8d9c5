"""PubSub: who gets which message, in which order, and what a crash of its actor changes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Self

import pytest

from puckstream.actors import lifecycle
from puckstream.actors.actor import Actor
from puckstream.actors.mailbox import Bound
from puckstream.actors.pubsub import PubSub
from puckstream.actors.scheduler import Scheduler
from puckstream.actors.signals import SHUTDOWN
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import ActorDead, InvalidOption, NotInActor
from puckstream.node import Node
from puckstream.testing.clock import VirtualClock

TOPIC = "news"


class Reader(Actor):
    """Keeps what it gets; runs what it is asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message()
        self.got.append(message)
        return None


class Threaded(ThreadActor):
    def __init__(self, got: list[Any]) -> None:
        super().__init__()
        self.got = got

    def on_receive(self, message: Any) -> None:
        self.got.append(message)


class Small(Reader):
    mailbox = Bound(2, "refuse")


class Feed:
    """A growing list of numbered messages."""

    def __init__(self, name: str, count: int = 0) -> None:
        self.name = name
        self.messages: list[str] = []
        self.ended = False
        self.broken = False
        self.grow(count)

    @property
    def last(self) -> int:
        return len(self.messages)

    def after(self, number: int) -> Sequence[str]:
        if self.broken:
            raise RuntimeError("broken feed")
        return self.messages[number:]

    def grow(self, count: int = 1) -> None:
        self.messages += [f"{self.name}{self.last + 1 + n}" for n in range(count)]


class Press:
    """An engine and a PubSub whose actor can be killed and started again."""

    async def __aenter__(self) -> Self:
        self.system = Scheduler(asyncio.get_running_loop())
        self.pubsub = PubSub(self.system)
        self.employ()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.pubsub.service.close()
        await self.system.close()

    def employ(self) -> None:
        actor_class, args = self.pubsub.actor()
        self.actor: Any = lifecycle.spawn(self.system, actor_class, args, {})

    def reader(self, actor_class: type[Actor] = Reader, *args: Any) -> Any:
        return lifecycle.spawn(self.system, actor_class, args, {})

    async def readers(self, count: int, topic: str = TOPIC) -> list[Any]:
        readers = [self.reader() for _ in range(count)]
        for reader in readers:
            await self.pubsub.subscribe(topic, reader)
        return readers

    @property
    def watching(self) -> dict[int, Any]:
        return self.actor._extra.watching or {}

    def publish(self, feed: Feed, count: int = 1, *, ends: bool = False) -> None:
        feed.grow(count)
        feed.ended = ends
        self.pubsub.advance(TOPIC)

    settle = staticmethod(VirtualClock.settle)


def got(reader: Any) -> list[Any]:
    return list(reader._actor.got)


def numbered(name: str, first: int, last: int) -> list[str]:
    return [f"{name}{number}" for number in range(first, last + 1)]


# ----------------------------------------------------------------------------------------- plain


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


# ------------------------------------------------------------------------------------------- fed


async def test_a_feed_is_delivered_from_where_the_subscriber_begins() -> None:
    """What is there already is in the mailbox when the reply comes."""
    async with Press() as press:
        feed = Feed("a", 3)
        positions: list[Any] = [0, 2, 3, 99, "now"]
        readers = [press.reader() for _ in positions]
        for reader, position in zip(readers, positions, strict=True):
            await press.pubsub.subscribe(TOPIC, reader, feed=feed, after=position)
        assert readers[0].mailbox_length or got(readers[0])
        press.publish(feed, 2)
        await press.settle()
        assert [got(reader) for reader in readers] == [
            numbered("a", 1, 5),
            numbered("a", 3, 5),
            *[numbered("a", 4, 5)] * 3,
        ]


async def test_a_feed_that_grows_often_is_delivered_once() -> None:
    async with Press() as press:
        feed, reader = Feed("a"), press.reader()
        await press.pubsub.subscribe(TOPIC, reader, feed=feed)
        for _ in range(100):
            press.publish(feed)
        assert press.actor.mailbox_length == 1
        await press.settle()
        assert got(reader) == numbered("a", 1, 100)


async def test_subscribing_again_delivers_nothing_twice() -> None:
    """S68."""
    async with Press() as press:
        feed, reader = Feed("a", 2), press.reader()
        for _ in range(3):
            await press.pubsub.subscribe(TOPIC, reader, feed=feed)
            press.publish(feed)
        await press.settle()
        assert got(reader) == numbered("a", 1, 5)


async def test_the_subscription_ends_with_the_feed() -> None:
    async with Press() as press:
        feed = Feed("a", 1)
        early, late = press.reader(), press.reader()
        await press.pubsub.subscribe(TOPIC, early, feed=feed)
        press.publish(feed, ends=True)
        await press.settle()
        assert press.pubsub.subscribers(TOPIC) == ()
        assert not press.watching
        await press.pubsub.subscribe(TOPIC, late, feed=feed, after=1)
        await press.settle()
        assert (got(early), got(late)) == (["a1", "a2"], ["a2"])
        assert press.pubsub.subscribers(TOPIC) == ()


async def test_who_unsubscribes_gets_nothing_more_and_the_others_everything() -> None:
    """S68."""
    async with Press() as press:
        feed = Feed("a", 1)
        one, two = press.reader(), press.reader()
        await press.pubsub.subscribe(TOPIC, one, feed=feed)
        await press.pubsub.subscribe(TOPIC, two, feed=feed)
        await press.pubsub.unsubscribe(TOPIC, one)
        press.publish(feed)
        await press.settle()
        assert (got(one), got(two)) == (["a1"], ["a1", "a2"])


async def test_a_new_feed_under_the_topic_follows_the_rest_of_the_old_one() -> None:
    """A subscriber of both gets the end of what went before first."""
    async with Press() as press:
        old, new = Feed("a", 1), Feed("b", 1)
        both, other = press.reader(), press.reader()
        for reader in (both, other):
            await press.pubsub.subscribe(TOPIC, reader, feed=old)
        old.grow()
        old.ended = True
        await press.pubsub.subscribe(TOPIC, both, feed=new)
        press.publish(new)
        await press.settle()
        assert got(both) == ["a1", "a2", "b1", "b2"]
        assert got(other) == ["a1", "a2"]
        assert press.pubsub.subscribers(TOPIC) == (both,)


async def test_a_fed_topic_can_carry_broadcasts_too() -> None:
    async with Press() as press:
        feed, fed = Feed("a", 1), press.reader()
        (plain,) = await press.readers(1)
        await press.pubsub.subscribe(TOPIC, fed, feed=feed)
        press.pubsub.broadcast(TOPIC, "hello")
        press.publish(feed)
        await press.settle()
        assert (got(plain), got(fed)) == (["hello"], ["a1", "hello", "a2"])


async def test_a_feed_that_fails_costs_its_subscribers_and_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged, and the actor lives."""
    async with Press() as press:
        bad, good = Feed("a", 1), Feed("b", 1)
        victims, lucky = [press.reader(), press.reader()], press.reader()
        for ref, feed in ((victims[0], bad), (lucky, good), (victims[1], bad)):
            await press.pubsub.subscribe(TOPIC, ref, feed=feed)
        bad.broken = True
        bad.grow()
        press.publish(good)
        await press.settle()
        assert got(lucky) == ["b1", "b2"]
        assert press.pubsub.subscribers(TOPIC) == (lucky,)
        assert (press.actor.is_alive(), caplog.text.count("broken feed") >= 2) == (True, True)


# --------------------------------------------------------------------------------------- restart


async def test_subscriptions_outlive_the_actor() -> None:
    """Those who died in between are removed; broadcasts made in between wait."""
    async with Press() as press:
        one, two = await press.readers(2)
        press.pubsub.broadcast(TOPIC, 1)
        await press.settle()
        press.actor.kill()
        one.kill()
        press.pubsub.broadcast(TOPIC, 2)
        press.employ()
        press.pubsub.broadcast(TOPIC, 3)
        await press.settle()
        assert got(two) == [1, 2, 3]
        assert press.pubsub._table.by_ref.keys() == {two}
        two.kill()
        await press.settle()
        assert press.pubsub._table.by_topic == {}


async def test_a_broadcast_in_its_mailbox_dies_with_the_actor() -> None:
    """S70: at most once."""
    async with Press() as press:
        (reader,) = await press.readers(1)
        press.pubsub.broadcast(TOPIC, 1)
        press.actor.kill()
        press.employ()
        press.pubsub.broadcast(TOPIC, 2)
        await press.settle()
        assert got(reader) == [2]


async def test_a_feed_is_without_gap_or_double_across_a_crash() -> None:
    """What had not been delivered is delivered by the next actor, wherever the last one died."""
    async with Press() as press:
        feed, reader = Feed("a"), press.reader()
        await press.pubsub.subscribe(TOPIC, reader, feed=feed)
        press.publish(feed, 3)
        await press.settle()
        press.publish(feed, 3)  # in the mailbox of the one that dies
        press.actor.kill()
        press.publish(feed, 3)  # while nobody is there
        press.employ()
        press.publish(feed, 3, ends=True)
        await press.settle()
        assert got(reader) == numbered("a", 1, 12)
        assert press.pubsub.subscribers(TOPIC) == ()


async def test_a_subscription_made_while_the_actor_is_away_is_made_by_the_next() -> None:
    async with Press() as press:
        feed, reader = Feed("a", 2), press.reader()
        press.actor.kill()
        subscribed = press.pubsub.subscribe(TOPIC, reader, feed=feed)
        assert not subscribed.done
        press.employ()
        await subscribed
        await press.settle()
        assert got(reader) == ["a1", "a2"]


async def test_feeds_survive_any_number_of_crashes_at_any_moment() -> None:
    """Many feeds and subscribers, and a seed for the moments."""
    chance = random.Random(20)
    async with Press() as press:
        feed = Feed("a")
        readers: list[tuple[Any, int]] = []
        for _ in range(400):
            match chance.randrange(5):
                case 0:
                    position = chance.randint(0, feed.last)
                    readers.append((press.reader(), position))
                    press.pubsub.subscribe(TOPIC, readers[-1][0], feed=feed, after=position)
                case 1:
                    press.actor.kill()
                    press.employ()
                case 2:
                    await asyncio.sleep(0)
                case _:
                    press.publish(feed, chance.randint(1, 5))
        press.publish(feed, ends=True)
        await press.settle()
        assert len(readers) > 50
        for reader, position in readers:
            assert got(reader) == numbered("a", position + 1, feed.last)
        assert press.pubsub._table.by_topic == press.pubsub._table.by_ref == {}


async def test_a_node_restarts_its_pubsub_with_every_subscription() -> None:
    async with Node() as node:
        feed = Feed("a", 1)
        reader = await node.spawn(Reader)
        await node.pubsub.subscribe(TOPIC, reader, feed=feed)
        for _ in range(2):
            actor = node.whereis_child("pubsub")
            assert actor is not None
            actor.kill()
            feed.grow()
            node.pubsub.advance(TOPIC)
            await actor.wait_stopped()
        await VirtualClock.settle()
        assert got(reader) == ["a1", "a2", "a3"]


async def test_an_orderly_shutdown_delivers_what_was_published_before() -> None:
    async with Press() as press:
        feed, reader = Feed("a"), press.reader()
        await press.pubsub.subscribe(TOPIC, reader, feed=feed)
        press.pubsub.broadcast(TOPIC, "hello")
        press.publish(feed, 2)
        press.actor.exit(SHUTDOWN)
        feed.grow()  # and nobody says so
        assert await press.actor.wait_stopped() == SHUTDOWN
        await press.settle()
        assert got(reader) == ["hello", "a1", "a2", "a3"]
