"""Subscribers that lag: what waits for them is bounded, and they lose nothing."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.feed import SubscriberStatistics
from puckstream.actors.mailbox import Bound
from puckstream.actors.pubsub import PubSub
from puckstream.actors.signals import SHUTDOWN
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import InvalidOption
from tests.actors.press import TOPIC, Feed, Press, Reader, Slow, got, numbered, singly

BACKLOG = 10


async def lagging(press: Press, feed: Feed, **options: Any) -> Any:
    """Return a slow reader that has begun its first message and waits."""
    slow = press.reader(Slow)
    await press.pubsub.subscribe(TOPIC, slow, feed=feed, backlog=BACKLOG, **options)
    press.publish(feed)
    await press.settle()
    return slow


async def test_who_keeps_within_the_backlog_gets_every_message_alone() -> None:
    async with Press() as press:
        feed = Feed("a")
        slow = await lagging(press, feed)
        for _ in range(BACKLOG):
            press.publish(feed)
            await press.settle()
        press.go_on(slow, 20)
        await press.settle()
        assert got(slow) == numbered("a", 1, 11)
        (statistics,) = press.pubsub.statistics(TOPIC)
        assert statistics == SubscriberStatistics(slow, 11, 0, 0, 11, 0)


async def test_who_lags_further_has_a_bounded_queue_and_gets_the_rest_joined() -> None:
    async with Press() as press:
        feed = Feed("a")
        slow = await lagging(press, feed)
        for _ in range(10 * BACKLOG):
            press.publish(feed)
            await press.settle()
            assert slow.mailbox_length <= BACKLOG
        (statistics,) = press.pubsub.statistics(TOPIC)
        assert statistics == SubscriberStatistics(slow, 10, 91, BACKLOG, 10, 0)
        press.go_on(slow, 50)
        await press.settle()
        assert got(slow) == [*numbered("a", 1, 10), "+".join(numbered("a", 11, 101))]
        (statistics,) = press.pubsub.statistics(TOPIC)
        assert statistics == SubscriberStatistics(slow, 101, 0, 0, 11, 90)


async def test_who_has_caught_up_gets_every_message_alone_again() -> None:
    async with Press() as press:
        feed = Feed("a")
        slow = await lagging(press, feed)
        press.publish(feed, 50)
        await press.settle()
        press.go_on(slow, 100)
        await press.settle()
        for _ in range(5):
            press.publish(feed)
        await press.settle()
        assert got(slow) == ["a1", "+".join(numbered("a", 2, 51)), *numbered("a", 52, 56)]


async def test_a_lagging_subscriber_delays_nobody() -> None:
    async with Press() as press:
        feed, quick = Feed("a"), press.reader()
        slow = await lagging(press, feed)
        await press.pubsub.subscribe(TOPIC, quick, feed=feed, backlog=BACKLOG)
        for _ in range(100):
            press.publish(feed)
            await press.settle()
            assert got(quick)[-1] == f"a{feed.last}"
        assert got(quick) == numbered("a", 1, 101)
        assert len(got(slow)) == 1


async def test_the_last_message_is_never_dropped_and_ends_the_subscription() -> None:
    async with Press() as press:
        feed = Feed("a")
        slow = await lagging(press, feed)
        press.publish(feed, 100, ends=True)
        await press.settle()
        assert press.pubsub.subscribers(TOPIC) == (slow,)
        press.go_on(slow, 100)
        await press.settle()
        assert got(slow) == ["a1", "+".join(numbered("a", 2, 100)), "a101"]
        assert press.pubsub.subscribers(TOPIC) == ()
        assert not press.watching


async def test_a_late_join_to_a_long_feed_is_one_entry_in_the_mailbox() -> None:
    async with Press() as press:
        feed, reader = Feed("a", 10_000), press.reader()
        joined = press.pubsub.subscribe(TOPIC, reader, feed=feed, backlog=BACKLOG)
        assert reader.mailbox_length == 1
        await joined
        await press.settle()
        assert singly(got(reader)) == feed.messages


async def test_messages_of_others_wait_no_longer_than_their_turn() -> None:
    """A feed that goes on does not keep its subscriber from what else there is."""
    async with Press() as press:
        feed = Feed("a")
        slow = await lagging(press, feed)
        press.publish(feed, 50)
        await press.settle()
        slow.tell("hello")
        for _ in range(5):
            press.go_on(slow)
            press.publish(feed, 50)
            await press.settle()
        assert "hello" in got(slow)[:4]


async def test_the_actor_of_pubsub_may_die_while_subscribers_lag() -> None:
    """Also for good: who lags fetches without it."""
    async with Press() as press:
        feed = Feed("a")
        slow = await lagging(press, feed)
        press.publish(feed, 50)
        await press.settle()
        press.actor.kill()
        feed.grow(50)
        press.go_on(slow, 2)
        await press.settle()
        assert singly(got(slow)) == numbered("a", 1, 101)
        press.employ()
        await press.settle()
        press.publish(feed, 1, ends=True)
        press.go_on(slow, 2)
        await press.settle()
        assert singly(got(slow)) == numbered("a", 1, 102)
        assert press.pubsub._table.by_topic == {}


async def test_who_dies_or_leaves_while_it_lags_gets_nothing_more_and_leaves_nothing() -> None:
    async with Press() as press:
        feed = Feed("a")
        dies, leaves = await lagging(press, feed), await lagging(press, feed)
        press.publish(feed, 50)
        await press.settle()
        dies.kill()
        await press.pubsub.unsubscribe(TOPIC, leaves)
        count = len(got(leaves))
        press.publish(feed, 50)
        press.go_on(leaves, 50)
        await press.settle()
        assert press.pubsub._table.by_topic == press.pubsub._table.by_ref == {}
        assert len(got(leaves)) <= count + BACKLOG  # what was in its mailbox by then
        assert not any("+" in message for message in got(leaves))
        assert [letter.message for letter in press.system.dead_letters.recent] == ["a2"]


async def test_who_comes_back_while_an_entry_of_old_waits_begins_where_it_says() -> None:
    async with Press() as press:
        feed = Feed("a")
        slow = await lagging(press, feed)
        press.publish(feed, 50)
        await press.settle()
        await press.pubsub.unsubscribe(TOPIC, slow)
        await press.pubsub.subscribe(TOPIC, slow, feed=feed, after=49, backlog=BACKLOG)
        press.go_on(slow, 50)
        await press.settle()
        assert got(slow) == ["a1", "a50", "a51"]


async def test_a_new_feed_waits_until_a_lagging_subscriber_has_the_end_of_the_old_one() -> None:
    async with Press() as press:
        old, new = Feed("a"), Feed("b", 1)
        slow = await lagging(press, old)
        press.publish(old, 50, ends=True)
        await press.settle()
        await press.pubsub.subscribe(TOPIC, slow, feed=new, backlog=BACKLOG)
        press.publish(new, 30)
        await press.settle()
        press.go_on(slow, 50)
        await press.settle()
        assert singly(got(slow)) == [*numbered("a", 1, 51), *numbered("b", 1, 31)]
        press.publish(new, 1, ends=True)
        await press.settle()
        assert got(slow)[-1] == "b32"
        assert press.pubsub.subscribers(TOPIC) == ()


async def test_who_leaves_a_new_feed_does_not_get_the_rest_of_the_old_one() -> None:
    async with Press() as press:
        old, new = Feed("a"), Feed("b", 1)
        slow = await lagging(press, old)
        press.publish(old, 50, ends=True)
        await press.settle()
        await press.pubsub.subscribe(TOPIC, slow, feed=new, backlog=BACKLOG)
        await press.pubsub.unsubscribe(TOPIC, slow)
        press.go_on(slow, 50)
        await press.settle()
        assert got(slow) == ["a1"]


@pytest.mark.parametrize("policy", ["refuse", "drop_new", "drop_old"])
async def test_a_bounded_mailbox_loses_nothing_of_a_feed_whatever_its_policy(policy: Any) -> None:
    """One entry stands for all there is; what others send is bounded as always."""

    class Bounded(Slow):
        mailbox = Bound(3, policy)

    async with Press() as press:
        feed, slow = Feed("a"), press.reader(Bounded)
        await press.pubsub.subscribe(TOPIC, slow, feed=feed, backlog=BACKLOG)
        for number in range(100):
            press.publish(feed)
            press.pubsub.broadcast(TOPIC, number)
            await press.settle()
            assert slow.mailbox_length <= 3
        press.publish(feed, 1, ends=True)
        press.go_on(slow, 300)
        await press.settle()
        assert singly([each for each in got(slow) if type(each) is str]) == feed.messages
        others = [each for each in got(slow) if type(each) is int]
        assert others == sorted(others)
        assert len(others) < 10
        assert press.pubsub.subscribers(TOPIC) == ()


@pytest.mark.parametrize("bound", [None, Bound(3, "drop_old")])
async def test_an_actor_with_a_thread_lags_in_the_same_way(bound: Bound | None) -> None:
    class InThread(ThreadActor):
        mailbox = bound

        def __init__(self, got: list[Any], gate: Any) -> None:
            super().__init__()
            self.got, self.gate = got, gate

        def on_receive(self, message: Any) -> None:
            self.got.append(message)
            self.gate.wait(10)

    async with Press() as press:
        feed, seen, gate = Feed("a"), list[Any](), threading.Event()
        slow = press.reader(InThread, seen, gate)
        await press.pubsub.subscribe(TOPIC, slow, feed=feed, backlog=BACKLOG)
        for _ in range(100):
            press.publish(feed)
            await asyncio.sleep(0)
        assert slow.mailbox_length <= BACKLOG
        press.publish(feed, 1, ends=True)
        await press.settle()
        slow.stop(block=False)  # behind everything there is
        gate.set()
        await slow.wait_stopped()
        assert singly(seen) == feed.messages
        assert len(seen) < 50


async def test_all_of_a_feed_that_has_ended_comes_before_a_request_to_stop() -> None:
    async with Press() as press:
        feed = Feed("a")
        slow = await lagging(press, feed)
        seen = slow._actor.got
        press.publish(feed, 50, ends=True)
        await press.settle()
        slow.stop(block=False)
        press.go_on(slow, 50)
        await slow.wait_stopped()
        assert singly(seen) == feed.messages


async def test_an_orderly_shutdown_leaves_who_lags_all_there_is() -> None:
    async with Press() as press:
        feed = Feed("a")
        slow = await lagging(press, feed)
        feed.grow(50)  # and nobody says so
        press.actor.exit(SHUTDOWN)
        await press.actor.wait_stopped()
        press.go_on(slow, 50)
        await press.settle()
        assert singly(got(slow)) == feed.messages


async def test_a_feed_that_fails_while_it_is_fetched_costs_its_subscriber_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Press() as press:
        feed = Feed("a")
        slow = await lagging(press, feed)
        press.publish(feed, 50)
        await press.settle()
        feed.broken = True
        press.go_on(slow, 50)
        await press.settle()
        slow.tell("hello")
        await press.settle()
        assert got(slow) == ["a1", "hello"]
        assert press.pubsub.subscribers(TOPIC) == ()
        assert "broken feed" in caplog.text


async def test_a_handler_that_fails_over_a_fetched_message_ends_its_actor_only() -> None:
    class Fragile(Actor):
        def on_receive(self, message: Any) -> None:
            raise RuntimeError("too much")

    async with Press() as press:
        feed, fragile, reader = Feed("a", 50), press.reader(Fragile), press.reader()
        for ref in (fragile, reader):
            await press.pubsub.subscribe(TOPIC, ref, feed=feed, backlog=BACKLOG)
        await press.settle()
        assert not fragile.is_alive()
        assert singly(got(reader)) == feed.messages
        assert press.pubsub.subscribers(TOPIC) == (reader,)


async def test_a_subscription_while_the_end_is_on_its_way_replays_the_feed() -> None:
    """As it does once the subscription is over."""

    class Again(Reader):
        def __init__(self, pubsub: PubSub, feed: Feed) -> None:
            super().__init__()
            self.pubsub, self.feed = pubsub, feed

        def on_receive(self, message: Any) -> Any:
            super().on_receive(message)
            if message == "a51" and self.got.count("a51") == 1:
                self.pubsub.subscribe(TOPIC, feed=self.feed, after=49)

    async with Press() as press:
        feed = Feed("a", 51)
        feed.ended = True
        reader = press.reader(Again, press.pubsub, feed)
        await press.pubsub.subscribe(TOPIC, reader, feed=feed, backlog=BACKLOG)
        await press.settle()
        assert got(reader) == ["+".join(numbered("a", 1, 50)), "a51", "a50", "a51"]
        assert press.pubsub._table.by_topic == {}


async def test_no_number_of_crashes_costs_anybody_anything_however_slow_they_are() -> None:
    """Many subscribers with backlogs and paces of their own, and a seed for the moments."""
    chance = random.Random(8)
    async with Press() as press:
        feed = Feed("a")
        readers: list[tuple[Any, int]] = []
        for _ in range(600):
            match chance.randrange(8):
                case 0:
                    position = chance.randint(0, feed.last)
                    reader = press.reader(chance.choice([Slow, Slow, Reader]))
                    readers.append((reader, position))
                    press.pubsub.subscribe(
                        TOPIC, reader, feed=feed, after=position, backlog=chance.randint(1, 20)
                    )
                case 1:
                    press.actor.kill()
                    press.employ()
                case 2 | 3:
                    await asyncio.sleep(0)
                case 4 | 5 if readers:
                    reader, _ = chance.choice(readers)
                    if reader.actor_class is Slow:
                        press.go_on(reader, chance.randint(1, 5))
                case _:
                    press.publish(feed, chance.randint(1, 9))
        press.publish(feed, ends=True)
        for reader, _ in readers:
            if reader.actor_class is Slow:
                press.go_on(reader, 3000)
        await press.settle()
        assert len(readers) > 50
        for reader, position in readers:
            assert singly(got(reader)) == numbered("a", position + 1, feed.last)
        assert sum("+" in each for reader, _ in readers for each in got(reader)) > 50
        assert press.pubsub._table.by_topic == press.pubsub._table.by_ref == {}


async def test_a_backlog_that_cannot_be_is_refused_in_the_caller() -> None:
    async with Press() as press:
        for backlog in (0, -1, 1.5, True, "many"):
            wrong: Any = backlog
            with pytest.raises(InvalidOption, match="backlog="):
                press.pubsub.subscribe(TOPIC, press.reader(), feed=Feed("a"), backlog=wrong)
