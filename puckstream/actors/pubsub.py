"""PubSub: messages to whoever subscribed to a topic (``Phoenix.PubSub``).

Two kinds of topic. A *plain* topic broadcasts messages, each at most once. A *fed* topic hands
out a numbered `Feed`: the actor keeps a position per subscriber and delivers what lies behind it,
so that nothing is lost or doubled by a late subscription, or by this actor crashing and coming
back. The subscriptions outlive the actor.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast

from puckstream.actors.actor import Actor
from puckstream.actors.multicast import multicast
from puckstream.actors.ref import ActorRef
from puckstream.actors.scheduler import CURRENT, Scheduler
from puckstream.actors.service import Service
from puckstream.actors.signals import Down, ExitReason
from puckstream.errors import ActorDead, InvalidOption, MailboxFull, NotInActor, Refuse

if TYPE_CHECKING:
    from puckstream.actors.reply import Reply

__all__ = ["Feed", "Position", "PubSub", "PubSubActor"]

logger = logging.getLogger("puckstream.actors")

Position = int | Literal["now"]
"""Where a subscription to a feed begins: behind a number (0 is the start), or with what is new."""


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
        """Return the messages behind ``number``, in order."""
        ...


class _Subscribe(NamedTuple):
    topic: str
    ref: ActorRef[Any]
    feed: Feed | None
    position: Position


class _Unsubscribe(NamedTuple):
    topic: str
    ref: ActorRef[Any]


class _Broadcast(NamedTuple):
    topic: str
    message: Any
    sender: ActorRef[Any] | None


class _Advance(NamedTuple):
    topic: str


class _Cursor:
    """How far a subscriber has come in a feed."""

    __slots__ = ("feed", "number")

    def __init__(self, feed: Feed, number: int) -> None:
        self.feed = feed
        self.number = number


class _Table:
    """The subscriptions: by topic in order of subscription, and by subscriber."""

    def __init__(self) -> None:
        self.by_topic: dict[str, dict[ActorRef[Any], _Cursor | None]] = {}
        self.by_ref: dict[ActorRef[Any], dict[str, None]] = {}
        self.monitors: dict[ActorRef[Any], int] = {}
        # Topics with an _Advance on its way: one is enough, whatever happens in between.
        self.advancing: set[str] = set()

    def remove(self, topic: str, ref: ActorRef[Any]) -> None:
        subscribers = self.by_topic.get(topic)
        if subscribers is not None:
            subscribers.pop(ref, None)
            if not subscribers:
                del self.by_topic[topic]
        topics = self.by_ref.get(ref)
        if topics is not None:
            topics.pop(topic, None)
            if not topics:
                del self.by_ref[ref]


class PubSubActor(Actor):
    """Delivers to the subscribers of a `PubSub`."""

    # Its shutdown is a message like others, so that what was published before is delivered.
    trap_exit = True

    def __init__(self, table: _Table, service: Service) -> None:
        super().__init__()
        self._table = table
        self._service = service

    def on_start(self) -> None:
        """Take over from a predecessor, and deliver what it has left undone."""
        table = self._table
        table.monitors.clear()
        table.advancing.clear()
        for ref in tuple(table.by_ref):
            self._watch(ref)
        for topic in tuple(table.by_topic):
            self._advance(topic)
        self._service.provided_by(self.actor_ref)

    def on_receive(self, message: Any) -> Any:
        """Deliver, or change the subscriptions."""
        if type(message) is _Advance:
            self._advance(message.topic)
            return None
        if type(message) is _Broadcast:
            return self._broadcast(message.topic, message.message, message.sender)
        match message:
            case _Subscribe(topic, ref, feed, position):
                self._subscribe(topic, ref, feed, position)
            case _Unsubscribe(topic, ref):
                self._remove(topic, ref)
            case Down(_, ref, _):
                for topic in tuple(self._table.by_ref.get(ref, ())):
                    self._table.remove(topic, ref)
                self._table.monitors.pop(ref, None)
            case _:
                return super().on_receive(message)
        return None

    def on_parent_exit(self, reason: ExitReason) -> bool:
        """Deliver what is left of every feed, and go."""
        del reason
        for topic in tuple(self._table.by_topic):
            self._advance(topic)
        return True

    def _broadcast(self, topic: str, message: Any, sender: ActorRef[Any] | None) -> int:
        subscribers = self._table.by_topic.get(topic)
        if not subscribers:
            return 0
        others = [ref for ref in subscribers if ref is not sender]
        if {*map(type, others)} <= _PLAIN:
            multicast(self.actor_ref._system, others, message)
        else:
            for ref in others:
                _send(ref, message)
        return len(others)

    def _advance(self, topic: str) -> None:
        self._table.advancing.discard(topic)
        subscribers = self._table.by_topic.get(topic)
        if not subscribers:
            return
        ended: list[ActorRef[Any]] = []
        # Subscribers that keep up stand at the same place and share one slice of the feed.
        slice_of: Feed | None = None
        behind = -1
        messages: Sequence[Any] = ()
        for ref, cursor in subscribers.items():
            if cursor is None:
                continue
            feed = cursor.feed
            try:
                if feed is not slice_of or cursor.number != behind:
                    behind = cursor.number
                    messages = feed.after(behind)
                    slice_of = feed
                for message in messages:
                    _send(ref, message)
                cursor.number = behind + len(messages)
                if feed.ended and cursor.number >= feed.last:
                    ended.append(ref)
            except Exception:
                # A restart would only meet the same feed again, and in the end nobody would be
                # left to deliver anything.
                logger.exception("the feed of %r failed; %s is unsubscribed", topic, ref)
                slice_of = None
                ended.append(ref)
        for ref in ended:
            self._remove(topic, ref)

    def _subscribe(
        self, topic: str, ref: ActorRef[Any], feed: Feed | None, position: Position
    ) -> None:
        if not ref.is_alive():
            msg = f"{ref} has stopped and cannot subscribe to {topic!r}"
            raise Refuse(ActorDead(msg))
        table = self._table
        present = table.by_topic.get(topic, {}).get(ref)
        if present is not None and present.feed is feed:
            return
        if present is not None:
            # The topic has begun anew: the end of what went before comes first.
            self._advance(topic)
        cursor = None
        if feed is not None:
            cursor = _Cursor(feed, feed.last if position == "now" else min(position, feed.last))
        table.by_topic.setdefault(topic, {})[ref] = cursor
        table.by_ref.setdefault(ref, {})[topic] = None
        self._watch(ref)
        if feed is not None:
            self._advance(topic)

    def _remove(self, topic: str, ref: ActorRef[Any]) -> None:
        self._table.remove(topic, ref)
        if ref not in self._table.by_ref:
            number = self._table.monitors.pop(ref, None)
            if number is not None:
                self.demonitor(number)

    def _watch(self, ref: ActorRef[Any]) -> None:
        if ref not in self._table.monitors:
            self._table.monitors[ref] = self.monitor(ref)


# Refs that take a message without asking a bound or a thread.
_PLAIN = frozenset({ActorRef})


def _send(ref: ActorRef[Any], message: Any) -> None:
    if type(ref) is ActorRef:
        ref._deliver(message)
        return
    try:
        ref.tell(message)
    except (ActorDead, MailboxFull):
        # The dead are removed by their Down; a full mailbox has its own policy, and its
        # refusal concerns nobody else.
        ref._system.dead_letters.add(ref, message, "the subscriber did not take it")


def _check_topic(topic: object) -> None:
    if not isinstance(topic, str):
        option = "topic"
        raise InvalidOption(option, topic, "a topic is text")


class PubSub:
    """Publishes to subscribers by topic.

    A subscriber gets one copy of each message, however often it subscribed, in the order of
    publication. It is forgotten when it ends. Publishing never blocks and never fails because of
    a subscriber.

    Args:
        system: the engine of the node it belongs to.
    """

    def __init__(self, system: Scheduler) -> None:
        self._table = _Table()
        self._system = system
        self.service = Service(system, "pubsub")

    def actor(self) -> tuple[type[PubSubActor], tuple[Any, ...]]:
        """Return the class and arguments of the actor that delivers."""
        return PubSubActor, (self._table, self.service)

    def subscribe(
        self,
        topic: str,
        ref: ActorRef[Any] | None = None,
        *,
        feed: Feed | None = None,
        after: Position = 0,
    ) -> Reply[None]:
        """Subscribe ``ref``, or the calling actor, to ``topic``.

        Args:
            feed: what a fed topic hands out; messages behind ``after`` that are there already
                are in the mailbox when the reply comes. It ends with the feed.
            after: a message number, or ``"now"``.

        Raises (when awaited):
            ActorDead: if ``ref`` has stopped.

        Raises (at once):
            NotInActor: if no ``ref`` is given and no actor is calling.
            InvalidOption: if ``topic`` is no text, or ``after`` no position.
        """
        _check_topic(topic)
        if after != "now" and (type(after) is not int or after < 0):
            raise InvalidOption("after", after, "a number ≥ 0, or 'now'")
        return self.service.call(_Subscribe(topic, self._subscriber(ref), feed, after))

    def unsubscribe(self, topic: str, ref: ActorRef[Any] | None = None) -> Reply[None]:
        """Take ``ref``, or the calling actor, off ``topic``; nothing happens if it is not there.

        Raises (at once):
            NotInActor: if no ``ref`` is given and no actor is calling.
        """
        return self.service.call(_Unsubscribe(topic, self._subscriber(ref)))

    def broadcast(self, topic: str, message: Any, *, sender: ActorRef[Any] | None = None) -> None:
        """Send ``message`` to every subscriber of ``topic`` but ``sender``; from any thread.

        Raises:
            InvalidOption: if ``topic`` is no text.
            NodeNotRunning: from another thread, if the node has shut down.
        """
        _check_topic(topic)
        self.service.tell(_Broadcast(topic, message, sender))

    def advance(self, topic: str) -> None:
        """Say that the feed of ``topic`` has grown. On the loop's thread."""
        table = self._table
        if topic not in table.advancing and topic in table.by_topic:
            table.advancing.add(topic)
            self.service.tell(_Advance(topic))

    def subscribers(self, topic: str) -> tuple[ActorRef[Any], ...]:
        """Return the live subscribers of ``topic`` in order of subscription."""
        return tuple(ref for ref in tuple(self._table.by_topic.get(topic, ())) if ref.is_alive())

    @staticmethod
    def _subscriber(ref: ActorRef[Any] | None) -> ActorRef[Any]:
        subscriber = CURRENT.get() if ref is None else ref
        if subscriber is None:
            msg = "subscribing needs a ref=…, unless an actor subscribes itself"
            raise NotInActor(msg)
        if not isinstance(cast("object", subscriber), ActorRef):
            raise InvalidOption("ref", subscriber, "the ref of an actor")
        return subscriber
