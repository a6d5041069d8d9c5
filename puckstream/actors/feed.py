"""Feeds: numbered messages, and how far each subscriber has come in them.

A subscriber that keeps up is sent every message. One that has fallen behind by more than its
backlog is sent nothing: a single entry in its mailbox brings, when its turn comes, the next message
with as much joined to it as the feed can join, and so on until it has caught up. So what waits for
a slow subscriber is bounded, and nobody else waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from puckstream.actors.mailbox import NOTHING, Fetch
from puckstream.actors.ref import ActorRef

__all__ = ["BACKLOG", "Cursor", "Feed", "Position", "SubscriberStatistics"]

logger = logging.getLogger("puckstream.actors")

Position = int | Literal["now"]
"""Where a subscription to a feed begins: behind a number (0 is the start), or with what is new."""

BACKLOG: Final = 1024
"""How many messages of a feed may wait for a subscriber, one by one."""


class Feed(Protocol):
    """A numbered sequence of messages, 1, 2, 3, …, that may come to an end."""

    @property
    def last(self) -> int:
        """The number of the newest message; 0 if there is none."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the newest message is the last there will be."""
        ...

    def after(self, number: int) -> Sequence[Any]:
        """Return the messages behind ``number`` up to the last, in order."""
        ...

    def next(self, number: int, count: int, *, join: bool) -> tuple[Sequence[Any], int]:
        """Return the messages that follow ``number``, and the number up to which they go.

        Args:
            number: smaller than ``last``.
            count: how many at most, 1 or more; at least one is returned.
            join: whether one may stand for several, if the feed knows how to join them.
        """
        ...


@dataclass(frozen=True, slots=True)
class SubscriberStatistics:
    """What a subscriber has got, and what it has not.

    Args:
        subscriber: the actor's ref, or the iteration.
        seq: the number up to which messages were handed over.
        lag: how many messages behind that one there are.
        queued: how many messages of any kind wait in its mailbox; 0 for an iteration.
        delivered: how many messages were handed over.
        coalesced: how many of the feed's messages were not, because another stood for them.
        dropped: how many were lost; always 0.
    """

    subscriber: Any
    seq: int
    lag: int
    queued: int
    delivered: int
    coalesced: int
    dropped: Literal[0] = 0


class Cursor:
    """How far a subscriber has come in a feed. Belongs to the loop's thread.

    It outlives the actor that delivers, and works without it once the subscriber lags.

    Args:
        topic: the topic it belongs to.
        ref: the subscriber.
        feed: what it reads.
        number: the last message it is not to get. The end of a feed it gets in any case, also
            where that has a smaller number.
        backlog: how many messages may wait for it.
        finished: called with the cursor when a lagging subscriber has come to the end of the feed,
            or the feed has failed.
    """

    __slots__ = (
        "_closed",
        "_fetches",
        "_finished",
        "_former",
        "_next",
        "backlog",
        "coalesced",
        "delivered",
        "feed",
        "number",
        "ref",
        "topic",
        "waiting",
    )

    def __init__(
        self,
        topic: str,
        ref: ActorRef[Any],
        feed: Feed,
        number: int,
        *,
        backlog: int,
        finished: Callable[[Cursor], object],
    ) -> None:
        self.topic = topic
        self.ref = ref
        self.feed = feed
        self.number = number
        self.backlog = backlog
        self.delivered = 0
        self.coalesced = 0
        # Whether the subscriber comes for more by itself, so that nothing is to be sent.
        self.waiting = False
        # What others send could push a message out of a bounded mailbox, but never an entry.
        self._fetches = ref.actor_class.mailbox is not None
        self._finished = finished
        self._closed = False
        self._former: Cursor | None = None
        self._next: Cursor | None = None

    @property
    def over(self) -> bool:
        """Whether all of a feed that has ended was handed over."""
        return self.feed.ended and self.number == self.feed.last

    def statistics(self) -> SubscriberStatistics:
        """Return what was handed over and what was not; in constant time."""
        return SubscriberStatistics(
            self.ref,
            self.number,
            max(self.feed.last - self.number, 0),
            self.ref.mailbox_length,
            self.delivered,
            self.coalesced,
        )

    def see_end(self) -> None:
        """Stand right before the end of the feed, if that came sooner than expected."""
        if self.feed.ended and self.number > self.feed.last:
            self.number = max(self.feed.last - 1, 0)

    def deliver(self) -> None:
        """Hand over what is new, or have the subscriber come for it if that is too much.

        Raises:
            Exception: what the feed raises.
        """
        ref, feed = self.ref, self.feed
        last = feed.last
        lag = last - self.number
        if lag <= 0 or self.waiting:
            return
        if self._fetches or lag + ref.mailbox_length >= self.backlog:
            self._summon()
            return
        messages = feed.after(self.number)
        self.delivered += len(messages)
        self.coalesced += lag - len(messages)
        self.number = last
        for message in messages:
            ref._deliver(message)

    def follow(self, former: Cursor) -> None:
        """Deliver nothing until ``former``, of the same subscriber, has handed over everything."""
        self.waiting = True
        self._former, former._next = former, self

    def close(self) -> None:
        """Deliver nothing more."""
        self._closed = True
        former, self._former = self._former, None
        if former is not None:
            former.close()

    def _summon(self) -> None:
        self.waiting = True
        self.ref._deliver(Fetch(self._take))

    def _take(self) -> Any:
        """Return the next message for the subscriber, whose turn it is; more may follow it."""
        if self._closed:
            return NOTHING
        self.waiting = False
        messages: Sequence[Any] = ()
        try:
            messages = self._read()
            over = self._hand_over(messages[1:])
        except Exception:
            logger.exception("the feed of %r failed; %s is unsubscribed", self.topic, self.ref)
            over = True
        if over and not self.waiting:
            self._finish()
        return messages[0] if messages else NOTHING

    def _read(self) -> Sequence[Any]:
        self.see_end()
        lag = self.feed.last - self.number
        if lag <= 0:
            return ()
        room = 1 if self._fetches else max(self.backlog - self.ref.mailbox_length, 1)
        messages, number = self.feed.next(self.number, room, join=lag > self.backlog)
        self.delivered += len(messages)
        self.coalesced += number - self.number - len(messages)
        self.number = number
        return messages

    def _hand_over(self, messages: Sequence[Any]) -> bool:
        """Put ``messages``, and what else there is, into the mailbox; true if that is all."""
        if self.feed.ended:
            # Nothing will follow, so that all of it may come before what else waits: a request
            # to stop, for one.
            if self.number < self.feed.last:
                self.waiting = True
                messages = [*messages, Fetch(self._take)]
            self.ref._deliver_first(*messages)
        else:
            for message in messages:
                self.ref._deliver(message)
            self.deliver()
        return self.over or self._next is not None

    def _finish(self) -> None:
        following, self._next = self._next, None
        self._finished(self)
        if following is not None and not following._closed:
            following._former = None
            following._summon()
