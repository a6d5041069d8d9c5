"""Fed topics: everything once and in order, and what a crash of PubSub's actor changes."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from puckstream.actors.signals import SHUTDOWN
from puckstream.node import Node
from puckstream.testing.clock import VirtualClock
from tests.actors.press import TOPIC, Feed, Press, Reader, got, numbered


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
            numbered("a", 4, 5),
            [],
            numbered("a", 4, 5),
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
