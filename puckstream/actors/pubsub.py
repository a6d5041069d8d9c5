"""PubSub: messages to whoever subscribed to a topic (``Phoenix.PubSub``).

Two kinds of topic. A *plain* topic broadcasts messages, each at most once. A *fed* topic hands
out a numbered `Feed`: the actor keeps a position per subscriber and delivers what lies behind it,
so that nothing is lost or doubled by a late subscription, or by this actor crashing and coming
back. The subscriptions outlive the actor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from puckstream.actors.feed import BACKLOG, Feed, Position, SubscriberStatistics
from puckstream.actors.pubsub_actor import (
    Advance,
    Broadcast,
    Dispatcher,
    PubSubActor,
    Subscribe,
    Subscriptions,
    Unsubscribe,
)
from puckstream.actors.ref import ActorRef
from puckstream.actors.scheduler import Scheduler
from puckstream.actors.service import Service
from puckstream.errors import InvalidOption

if TYPE_CHECKING:
    from puckstream.actors.reply import Reply

__all__ = ["PubSub", "check_position"]


def _check_topic(topic: object) -> None:
    if not isinstance(topic, str):
        option = "topic"
        raise InvalidOption(option, topic, "a topic is text")


def check_position(after: object, backlog: object) -> None:
    """Refuse what is no place in a feed, or no number of messages that may wait.

    Raises:
        InvalidOption: if ``after`` is neither a number ≥ 0 nor ``"now"``, or ``backlog`` is not a
            whole number ≥ 1.
    """
    if after != "now" and (type(after) is not int or after < 0):
        raise InvalidOption("after", after, "a number ≥ 0, or 'now'")
    if type(backlog) is not int or backlog < 1:
        raise InvalidOption("backlog", backlog, "a whole number of messages, 1 or more")


class PubSub:
    """Publishes to subscribers by topic.

    A subscriber gets one copy of each message, however often it subscribed, in the order of
    publication. It is forgotten when it ends. Publishing never blocks and never fails because of
    a subscriber.

    Args:
        system: the engine of the node it belongs to.
    """

    def __init__(self, system: Scheduler) -> None:
        self._system = system
        self.service = Service(system, "pubsub")
        self._table = Subscriptions(self.service)

    def actor(self) -> tuple[type[PubSubActor], tuple[Any, ...]]:
        """Return the class and arguments of the actor that delivers."""
        return PubSubActor, (self._table, self.service)

    def subscribe(
        self,
        topic: str,
        ref: ActorRef[Any] | None = None,
        *,
        metadata: Any = None,
        feed: Feed | None = None,
        after: Position = 0,
        backlog: int = BACKLOG,
    ) -> Reply[None]:
        """Subscribe ``ref``, or the calling actor, to ``topic``.

        Args:
            metadata: what a `Dispatcher` is to know about the subscriber. Subscribing again
                replaces it.
            feed: what a fed topic hands out; messages behind ``after`` that are there already
                are in the mailbox when the reply comes. It ends with the feed.
            after: a message number, or ``"now"``.
            backlog: how many messages of the feed may wait for the subscriber one by one. One
                that lags further gets them joined; see `puckstream.actors.feed`.

        Raises (when awaited):
            ActorDead: if ``ref`` has stopped.

        Raises (at once):
            NotInActor: if no ``ref`` is given and no actor is calling.
            InvalidOption: if ``topic`` is no text, ``ref`` no actor of this node, ``after`` no
                position, or ``backlog`` below 1.
        """
        _check_topic(topic)
        check_position(after, backlog)
        order = Subscribe(topic, self.service.own(ref), feed, after, metadata, backlog)
        return self.service.call(order)

    def unsubscribe(self, topic: str, ref: ActorRef[Any] | None = None) -> Reply[None]:
        """Take ``ref``, or the calling actor, off ``topic``; nothing happens if it is not there.

        Raises (at once):
            NotInActor: if no ``ref`` is given and no actor is calling.
            InvalidOption: if ``ref`` is no actor of this node.
        """
        return self.service.call(Unsubscribe(topic, self.service.own(ref)))

    def broadcast(
        self,
        topic: str,
        message: Any,
        *,
        sender: ActorRef[Any] | None = None,
        dispatcher: Dispatcher | None = None,
    ) -> None:
        """Send ``message`` to every subscriber of ``topic`` but ``sender``; from any thread.

        Args:
            sender: an actor that does not get it.
            dispatcher: called in place of sending, once, with all live subscribers and their
                metadata, the sender among them: ``dispatcher([(ref, metadata), …], sender,
                message)``. It can encode the message once and tell each subscriber what it needs.
                Not called without subscribers. It runs on the loop and must not block; what it
                raises is logged.

        Raises:
            InvalidOption: if an argument is of the wrong type.
            NodeNotRunning: from another thread, if the node has shut down.
        """
        _check_topic(topic)
        if sender is not None and not isinstance(cast("object", sender), ActorRef):
            raise InvalidOption("sender", sender, "the ref of an actor")
        if dispatcher is not None and not callable(dispatcher):
            raise InvalidOption("dispatcher", dispatcher, "a function of entries, sender, message")
        self.service.tell(Broadcast(topic, message, sender, dispatcher))

    def local_broadcast(
        self,
        topic: str,
        message: Any,
        *,
        sender: ActorRef[Any] | None = None,
        dispatcher: Dispatcher | None = None,
    ) -> None:
        """Send ``message`` to the subscribers on this node only; otherwise as `broadcast`."""
        self.broadcast(topic, message, sender=sender, dispatcher=dispatcher)

    def direct_broadcast(
        self,
        node: str,
        topic: str,
        message: Any,
        *,
        sender: ActorRef[Any] | None = None,
        dispatcher: Dispatcher | None = None,
    ) -> None:
        """Send ``message`` to the subscribers on the node of that name only.

        A node nobody knows has no subscribers: nothing happens, and that is no error.

        Args:
            node: the node's name; this one's own is the only one known so far.

        Raises:
            InvalidOption: if an argument is of the wrong type.
            NodeNotRunning: from another thread, if the node has shut down.
        """
        if not isinstance(cast("object", node), str):
            raise InvalidOption("node", node, "the name of a node")
        here = self._system.node
        if here is not None and here.name == node:
            self.broadcast(topic, message, sender=sender, dispatcher=dispatcher)
        else:
            _check_topic(topic)

    def advance(self, topic: str) -> None:
        """Say that the feed of ``topic`` has grown. On the loop's thread."""
        table = self._table
        if topic not in table.advancing and topic in table.by_topic:
            table.advancing.add(topic)
            self.service.tell(Advance(topic))

    def watch(self, topic: str, watcher: Callable[[], object]) -> Callable[[], None]:
        """Call ``watcher()`` whenever a subscriber has left ``topic``; one for each topic.

        On the loop's thread, which is where it is called.

        Returns:
            A function that takes the watcher back.
        """
        watchers = self._table.watchers
        watchers[topic] = watcher

        def unwatch() -> None:
            if watchers.get(topic) is watcher:
                del watchers[topic]

        return unwatch

    def subscribers(self, topic: str) -> tuple[ActorRef[Any], ...]:
        """Return the live subscribers of ``topic`` in order of subscription."""
        return tuple(ref for ref in tuple(self._table.by_topic.get(topic, ())) if ref.is_alive())

    def statistics(self, topic: str) -> tuple[SubscriberStatistics, ...]:
        """Return what each live subscriber to the feed of ``topic`` has got. On the loop's thread.

        Constant time for each.
        """
        cursors = self._table.by_topic.get(topic, {}).values()
        return tuple(
            cursor.statistics()
            for cursor in cursors
            if cursor is not None and cursor.ref.is_alive()
        )
