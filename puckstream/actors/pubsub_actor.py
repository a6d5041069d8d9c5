"""The actor that delivers for a `PubSub`, and the subscriptions that outlive it.

A feed's subscriber is sent what is new, or comes for it if it lags; see `puckstream.actors.feed`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from puckstream.actors.actor import Actor
from puckstream.actors.feed import Cursor, Feed, Position
from puckstream.actors.multicast import multicast
from puckstream.actors.ref import ActorRef
from puckstream.actors.service import Service
from puckstream.actors.signals import Down, ExitReason
from puckstream.errors import ActorDead, MailboxFull, Refuse

__all__ = [
    "Advance",
    "Broadcast",
    "Dispatcher",
    "PubSubActor",
    "Subscribe",
    "Subscriptions",
    "Unsubscribe",
]

logger = logging.getLogger("puckstream.actors")

Dispatcher: TypeAlias = Callable[
    [Sequence[tuple[ActorRef[Any], Any]], ActorRef[Any] | None, Any], object
]
"""Delivers a broadcast on one node: ``dispatcher([(ref, metadata), …], sender, message)``."""


class Subscribe(NamedTuple):
    """Request: subscribe ``ref``; asking twice subscribes it once."""

    topic: str
    ref: ActorRef[Any]
    feed: Feed | None
    position: Position
    metadata: Any
    backlog: int


class Unsubscribe(NamedTuple):
    """Request: take ``ref`` off the topic, if it is there."""

    topic: str
    ref: ActorRef[Any]


class Broadcast(NamedTuple):
    """Send a message to all subscribers but ``sender``, or have the dispatcher do it."""

    topic: str
    message: Any
    sender: ActorRef[Any] | None
    dispatcher: Dispatcher | None


class Advance(NamedTuple):
    """The feed of the topic has grown."""

    topic: str


class _Finished(NamedTuple):
    """A subscriber that lagged has come to the end."""

    cursor: Cursor


class Subscriptions:
    """The subscriptions: by topic in order of subscription, and by subscriber."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.by_topic: dict[str, dict[ActorRef[Any], Cursor | None]] = {}
        self.by_ref: dict[ActorRef[Any], dict[str, None]] = {}
        # Only of those who gave some.
        self.metadata: dict[str, dict[ActorRef[Any], Any]] = {}
        self.monitors: dict[ActorRef[Any], int] = {}
        # Topics with an `Advance` on its way: one is enough, whatever happens in between.
        self.advancing: set[str] = set()
        # Told on the loop, by topic, when a subscriber has left it.
        self.watchers: dict[str, Callable[[], object]] = {}

    def remove(self, topic: str, ref: ActorRef[Any]) -> None:
        """Take ``ref`` off ``topic``, if it is there."""
        cursor = _take_out(self.by_topic, topic, ref)
        if cursor is not None:
            cursor.close()
        _take_out(self.metadata, topic, ref)
        _take_out(self.by_ref, ref, topic)
        watcher = self.watchers.get(topic)
        if watcher is not None:
            watcher()

    def say_finished(self, cursor: Cursor) -> None:
        """Have the actor take a subscriber off that has come to the end by itself."""
        self._service.tell(_Finished(cursor))


def _take_out(table: dict[Any, dict[Any, Any]], outer: Any, inner: Any) -> Any:
    within = table.get(outer)
    if within is None:
        return None
    found = within.pop(inner, None)
    if not within:
        del table[outer]
    return found


class PubSubActor(Actor):
    """Delivers to the subscribers of a `PubSub`."""

    # Its shutdown is a message like others, so that what was published before is delivered.
    trap_exit = True

    def __init__(self, table: Subscriptions, service: Service) -> None:
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
        if type(message) is Advance:
            self._advance(message.topic)
            return None
        if type(message) is Broadcast:
            return self._broadcast(message)
        match message:
            case Subscribe():
                self._subscribe(message)
            case Unsubscribe(topic, ref):
                self._remove(topic, ref)
            case _Finished(cursor):
                if self._table.by_topic.get(cursor.topic, {}).get(cursor.ref) is cursor:
                    self._remove(cursor.topic, cursor.ref)
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

    def _broadcast(self, order: Broadcast) -> int:
        subscribers = self._table.by_topic.get(order.topic)
        if not subscribers:
            return 0
        if order.dispatcher is not None:
            return self._dispatch(order, order.dispatcher, subscribers)
        sender = order.sender
        others = [ref for ref in subscribers if ref is not sender]
        if {*map(type, others)} <= _PLAIN:
            multicast(self.actor_ref._system, others, order.message)
        else:
            for ref in others:
                _send(ref, order.message)
        return len(others)

    def _dispatch(
        self, order: Broadcast, dispatcher: Dispatcher, subscribers: dict[ActorRef[Any], Any]
    ) -> int:
        metadata = self._table.metadata.get(order.topic, {})
        entries = [(ref, metadata.get(ref)) for ref in subscribers if ref.is_alive()]
        if entries:
            try:
                dispatcher(entries, order.sender, order.message)
            except BaseException as error:
                # It is the broadcaster's code, and must not cost others their deliveries.
                logger.exception("the dispatcher of a broadcast to %r failed", order.topic)
                if _is_ctrl_c(error):
                    raise
        return len(entries)

    def _advance(self, topic: str) -> None:
        self._table.advancing.discard(topic)
        subscribers = self._table.by_topic.get(topic)
        if not subscribers:
            return
        over: list[ActorRef[Any]] = []
        # Subscribers that keep up stand at the same place and share one slice of the feed.
        known: Feed | None = None
        last, ended, behind = 0, False, -1
        messages: Sequence[Any] = ()
        for ref, cursor in subscribers.items():
            if cursor is None or cursor.waiting:
                continue
            feed = cursor.feed
            try:
                if feed is not known:
                    last, ended, behind = feed.last, feed.ended, -1
                    known = feed
                number = cursor.number
                if ended and number > last:
                    cursor.see_end()
                    number = cursor.number
                lag = last - number
                box = ref._box
                queued = lag if box is None else lag + len(box)
                if type(ref) is not ActorRef or queued >= cursor.backlog:
                    cursor.deliver()
                elif lag > 0:
                    if number != behind:
                        messages = feed.after(number)
                        behind = number
                    for message in messages:
                        ref._deliver(message)
                    cursor.number = last
                    cursor.delivered += len(messages)
                    cursor.coalesced += lag - len(messages)
                if ended and cursor.number >= last:
                    over.append(ref)
            except BaseException as error:
                # A restart would only meet the same feed again, and in the end nobody would be
                # left to deliver anything.
                logger.exception("the feed of %r failed; %s is unsubscribed", topic, ref)
                if _is_ctrl_c(error):
                    raise
                known = None
                over.append(ref)
        for ref in over:
            self._remove(topic, ref)

    def _subscribe(self, order: Subscribe) -> None:
        topic, ref, feed = order.topic, order.ref, order.feed
        if not ref.is_alive():
            msg = f"{ref} has stopped and cannot subscribe to {topic!r}"
            raise Refuse(ActorDead(msg))
        table = self._table
        subscribed = ref in table.by_topic.get(topic, ())
        present = table.by_topic[topic][ref] if subscribed else None
        if present is not None and present.over:
            # Its end is handed over, and we have not been told so yet.
            table.remove(topic, ref)
            subscribed, present = False, None
        if order.metadata is not None:
            table.metadata.setdefault(topic, {})[ref] = order.metadata
        if subscribed and (feed is None or (present is not None and present.feed is feed)):
            return
        cursor = None
        if feed is not None:
            position = order.position
            number = feed.last if position == "now" else position
            cursor = Cursor(
                topic,
                ref,
                feed,
                number,
                backlog=order.backlog,
                finished=table.say_finished,
            )
            if present is not None:
                # The topic has begun anew: the end of what went before comes first.
                self._advance(topic)
                if present.waiting:
                    cursor.follow(present)
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


def _is_ctrl_c(error: BaseException) -> bool:
    # Ctrl-C belongs to the program; it comes to the main thread only.
    here = threading.current_thread()
    return isinstance(error, KeyboardInterrupt) and here is threading.main_thread()


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
