"""Everything one can do with the streams of a node: start, follow, cancel, look.

All methods can be called from the loop, from actors and from any thread. Those that answer later
return a `Reply`: await it, or ``get()`` it in a thread that runs no event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from puckstream.actors import links
from puckstream.actors.feed import BACKLOG, Position, SubscriberStatistics
from puckstream.actors.pubsub import PubSub, check_position
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import CURRENT, Scheduler
from puckstream.actors.service import Service
from puckstream.actors.signals import SHUTDOWN
from puckstream.backends.base import Resources
from puckstream.errors import (
    InvalidOption,
    NotInActor,
    StreamError,
    StreamExpired,
    StreamNotFound,
)
from puckstream.streams.client import Client
from puckstream.streams.context import Context, Prompt
from puckstream.streams.feed import LogFeed
from puckstream.streams.handle import Stream
from puckstream.streams.handler import Handler
from puckstream.streams.limits import Limits
from puckstream.streams.log import Log, StreamRecord
from puckstream.streams.opening import Opening
from puckstream.streams.order import IfRunning, OnAbandoned, make_order
from puckstream.streams.policy import Timeout
from puckstream.streams.retry import Retry
from puckstream.streams.shelf import Shelf, topic
from puckstream.streams.snapshot import Snapshot
from puckstream.streams.stream import Cancel, CancelOutcome
from puckstream.telemetry import Telemetry

if TYPE_CHECKING:
    from puckstream.streams.events import CancelReason

__all__ = ["Desk"]


class Desk:
    """The streams of one node.

    Args:
        system: the node's engine.
        shelf: the table of streams.
        pubsub: broadcasts their events.
        resources: what backends keep open.
        limits: how many streams may run at once.
        telemetry: who is told what they do.
    """

    def __init__(
        self,
        system: Scheduler,
        shelf: Shelf,
        pubsub: PubSub,
        resources: Resources,
        *,
        limits: Limits,
        telemetry: Telemetry,
    ) -> None:
        self.telemetry = telemetry
        self.system = system
        self.shelf = shelf
        self.pubsub = pubsub
        self.resources = resources
        self.opening = Opening(self, limits)
        self.service = Service(system, "streams supervisor", on_close=self.opening.close)
        # One feed for each log as long as somebody follows it; by generation, which is unique.
        self._feeds: WeakValueDictionary[int, LogFeed] = WeakValueDictionary()

    def now(self) -> float:
        """Return the time of the node's clock, in seconds."""
        return self.system.clock.now()

    # -- start

    def start_stream(
        self,
        source: Client | Callable[..., Any],
        prompt: Prompt | None = None,
        context: Context | None = None,
        *,
        stream_id: str | None = None,
        timeout: Timeout | float | None = None,
        retry: Retry | int | None = None,
        fallback: Sequence[Client] = (),
        handler: Handler | None = None,
        owner: ActorRef[Any] | None = None,
        subscribe: bool = True,
        if_running: IfRunning = "error",
        on_abandoned: OnAbandoned = "detach",
        grace: float = 10.0,
        **backend_options: Any,
    ) -> Reply[Stream]:
        """Start a stream; returns before the provider is contacted.

        Everything that goes wrong later is an event. Nothing is started if this raises. What a
        stream's own function starts ends with that stream at the latest, is cancelled with the
        reason ``abandoned`` then, and counts with it for the node's limits.

        Args:
            source: a client; an async generator function of chunks or text; an
                ``async def f(emit)``; or a blocking ``def f(emit)``, run in a thread.
            prompt: what to ask the client's model.
            context: the conversation so far.
            stream_id: printable text of 1 to 200 characters; a new unguessable one by default.
            timeout: see `Timeout`; a number is the total, in seconds. The total counts from
                here, the seconds in line and between attempts included; ``first`` from when
                there is a place for the stream.
            retry: see `Retry`; a number is that of the attempts. By default there is one.
            fallback: the clients that follow when the first one is out of attempts, or failed
                in a way that another might not: every kind but ``invalid_request`` and
                ``content_filter``. ``retrying`` says whose turn it is.
            handler: called with every event, after its broadcast; see `Handler`.
            owner: an actor with whose end the stream is cancelled, reason ``abandoned``: an
                actor that starts a stream passes ``self.actor_ref``.
            subscribe: subscribe the calling actor, if there is one, from the first event on.
            if_running: what happens if a stream of that id is running: ``"error"``, ``"join"``
                (the running one is returned as it is: its source, ``handler``, ``owner`` and
                ``on_abandoned`` are not changed) or ``"replace"`` (that one is cancelled first,
                and the new one has its place as far as limits go).
            on_abandoned: what becomes of a stream that nobody follows: ``"detach"`` (it goes on)
                or ``"cancel"``. Subscribed actors follow it, and whoever iterates; its handler
                does not, nor who awaits its result.
            grace: how many seconds nobody may follow it, with ``on_abandoned="cancel"``; from
                its start, if nobody ever does.
            backend_options: passed on to the providers: ``temperature``, ``tools``, ….

        Raises (when awaited):
            StreamRunning: if one of that id is running, with ``if_running="error"``.
            TooManyStreams: if the node, or the client, is at its limit.
            ActorDead: if ``owner`` has ended.
            NodeNotRunning: if the node is shutting down.

        Raises (at once):
            InvalidOption: if an argument has an impossible value.
        """
        order = make_order(
            source,
            prompt,
            context,
            backend_options,
            caller=CURRENT.get(),
            stream_id=stream_id,
            timeout=timeout,
            retry=retry,
            fallback=fallback,
            handler=handler,
            owner=owner,
            subscribe=subscribe,
            if_running=if_running,
            on_abandoned=on_abandoned,
            grace=grace,
        )
        return self.system.perform(lambda: self.opening.start(order))

    def feed(self, log: Log) -> LogFeed:
        """Return the one feed of ``log``, by which PubSub knows it."""
        feed = self._feeds.get(log.generation)
        if feed is None:
            feed = self._feeds[log.generation] = LogFeed(log)
        return feed

    # -- follow

    def subscribe(
        self,
        stream_id: str,
        *,
        after: Position = 0,
        subscriber: ActorRef[Any] | None = None,
        backlog: int = BACKLOG,
    ) -> Reply[None]:
        """Subscribe an actor: it gets ``("puck_stream", id, event)`` messages.

        What the log holds behind ``after`` comes first, then what happens, without gap or
        duplicate; after the terminal event the subscription is over. Subscribing again while
        subscribed changes nothing.

        Args:
            stream_id: the stream.
            after: a seq (0: from the beginning), or ``"now"``.
            subscriber: who; the calling actor by default.
            backlog: how many of its events may wait in the subscriber's mailbox one by one. One
                that lags further gets adjacent deltas of text joined; nothing is lost.

        Raises (when awaited):
            StreamNotFound: if no stream of that id was ever started here.
            StreamExpired: if it ended and its log is no longer kept.
            ActorDead: if the subscriber has stopped.

        Raises (at once):
            NotInActor: if no actor is calling and no ``subscriber`` is given.
            InvalidOption: if ``after`` is no position, ``backlog`` below 1, or another argument of
                the wrong type.
        """
        _check_text(stream_id)
        ref = _check_ref(CURRENT.get() if subscriber is None else subscriber)
        if ref is None:
            msg = "subscribe() needs subscriber=…; to iterate, use 'stream.subscribe()'"
            raise NotInActor(msg)
        check_position(after, backlog)

        def subscribe_to_log() -> Reply[None]:
            log = self.shelf.get(stream_id, self.now()).log
            return self.pubsub.subscribe(
                topic(stream_id), ref, feed=self.feed(log), after=after, backlog=backlog
            )

        return self.system.perform(subscribe_to_log)

    def unsubscribe(
        self, stream_id: str, *, subscriber: ActorRef[Any] | None = None
    ) -> Reply[None]:
        """Stop the events of a stream; the stream goes on. Unknown ids are no error.

        Raises (at once):
            NotInActor: if no actor is calling and no ``subscriber`` is given.
            InvalidOption: if an argument is of the wrong type.
        """
        return self.pubsub.unsubscribe(topic(_check_text(stream_id)), _check_ref(subscriber))

    def subscribers(self, stream_id: str) -> Reply[tuple[SubscriberStatistics, ...]]:
        """Return who follows a stream and how far each has come; constant time for each.

        Actors first, in the order of their subscription, then those who iterate.

        Raises (when awaited):
            StreamNotFound: if no stream of that id was ever started here.
            StreamExpired: if it ended and its log is no longer kept.

        Raises (at once):
            InvalidOption: if ``stream_id`` is no text.
        """
        _check_text(stream_id)
        return self.system.perform(
            lambda: self.followers(self.shelf.get(stream_id, self.now()).log)
        )

    def followers(self, log: Log) -> tuple[SubscriberStatistics, ...]:
        """Return who follows the stream of ``log``; see `subscribers`. On the loop."""
        iterating = tuple(each.statistics() for each in log.followers or () if each.open)
        return (*self.pubsub.statistics(topic(log.id)), *iterating)

    def stream(self, stream_id: str) -> Reply[Stream]:
        """Return the handle of a stream that runs or is still kept.

        Raises (when awaited):
            StreamNotFound: if no stream of that id was ever started here.
            StreamExpired: if it ended and its log is no longer kept.

        Raises (at once):
            InvalidOption: if ``stream_id`` is no text.
        """
        _check_text(stream_id)
        return self.system.perform(lambda: Stream(self, self.shelf.get(stream_id, self.now())))

    # -- end

    def cancel(self, stream_id: str, *, wait: bool = False, by: Any = None) -> Reply[CancelOutcome]:
        """End a stream now, ahead of whatever its actor has queued. Idempotent; no id raises.

        When the reply comes the terminal event is there, and no event follows it. A cancel for an
        id that was never seen is remembered for two minutes and ends that stream at its start.

        Args:
            stream_id: the stream.
            wait: have the reply wait until the upstream connection is closed.
            by: who asks, for the event; the calling actor by default.

        Returns:
            A reply: ``"cancelled"``, ``"already_done"``, ``"already_cancelled"``,
            ``"not_found"``.

        Raises (at once):
            InvalidOption: if ``stream_id`` is no text.
        """
        _check_text(stream_id)
        asker = CURRENT.get() if by is None else by
        return self.system.perform(lambda: self._cancel(stream_id, "user", asker, wait=wait))

    def _cancel(
        self, stream_id: str, reason: CancelReason, by: Any, *, wait: bool
    ) -> Reply[CancelOutcome]:
        outcome: Reply[CancelOutcome] = Reply()
        pending = self.opening.forbid_pending(stream_id)
        try:
            record = self.shelf.get(stream_id, self.now())
        except StreamExpired:
            outcome._resolve("cancelled" if pending else "already_done")
        except StreamNotFound:
            if not pending:
                self.shelf.forbid(stream_id, self.now())
            outcome._resolve("cancelled" if pending else "not_found")
        else:
            cancelling = self.cancel_record(record, reason, by, wait=wait)
            return cancelling.map(lambda _said: "cancelled") if pending else cancelling
        return outcome

    def cancel_record(
        self, record: StreamRecord, reason: CancelReason, by: Any, *, wait: bool
    ) -> Reply[CancelOutcome]:
        """End one run of a stream, and with ``wait`` what it owns too; see `cancel`."""
        outcome: Reply[CancelOutcome] = Reply()
        owner = cast("ActorRef[Any] | None", record.owner)
        if owner is None:
            # Its actor is not started yet, if it ever will be.
            outcome._resolve("cancelled" if self.end(record, reason, by) else _found(record.log))
            return outcome
        owned = self.opening.family.owned_by(owner) if wait else ()

        def answered() -> None:
            try:
                said = cast("CancelOutcome", asked.get())
            except BaseException:  # noqa: BLE001  # the actor is dead, or died of something else
                # Its end is an event too, which the supervisor is about to write.
                record.log.on_end(lambda _event: closed(_found(record.log)))
            else:
                closed(said)

        def closed(said: CancelOutcome) -> None:
            if wait:
                ends = [self.cancel_record(one, "abandoned", owner, wait=True) for one in owned]
                everything = owner.wait_stopped().join(*ends)
                everything._when_done(lambda: outcome._resolve(said))
            else:
                outcome._resolve(said)

        if record.log.terminal is not None:
            closed(_found(record.log))  # and its actor may be the one that asks
            return outcome
        asked = owner.call(Cancel(reason, by), timeout=None, control=True)
        asked._when_done(answered)
        return outcome

    def end(self, record: StreamRecord, how: CancelReason | StreamError, by: Any = None) -> bool:
        """Write the terminal event in place of an actor; false if there is one already."""
        if isinstance(how, StreamError):
            event: object = record.log.fail(how, self.now())
        else:
            event = record.log.cancel(how, self.now(), by=by)
        if event is not None:
            self.pubsub.advance(topic(record.id))
        return event is not None

    def end_rest(self, how: CancelReason | StreamError) -> None:
        """End the streams that no supervisor is left to end, and their actors. On the loop."""
        for stream_id in self.shelf.running():
            record = self.shelf.get(stream_id, self.now())
            self.end(record, how)
            if record.owner is not None:
                links.shut_down(record.owner, SHUTDOWN)

    # -- look

    def snapshot(self, stream_id: str) -> Reply[Snapshot]:
        """Return a stream as it stands: status, text, thinking, usage, seq, in one value.

        Raises (when awaited):
            StreamNotFound: if no stream of that id was ever started here.
            StreamExpired: if it ended and its log is no longer kept.

        Raises (at once):
            InvalidOption: if ``stream_id`` is no text.
        """
        _check_text(stream_id)
        return self.system.perform(
            lambda: self.shelf.get(stream_id, self.now()).log.snapshot(self.now())
        )

    def streaming(self, stream_id: str) -> bool:
        """Whether a stream of that id is running; a snapshot, from any thread."""
        return self.shelf.is_running(stream_id)


def _found(log: Log) -> CancelOutcome:
    return "already_cancelled" if log.status == "cancelled" else "already_done"


def _check_text(stream_id: str) -> str:
    if not isinstance(cast("object", stream_id), str):
        raise InvalidOption("stream_id", stream_id, "text")
    return stream_id


def _check_ref(subscriber: ActorRef[Any] | None) -> ActorRef[Any] | None:
    if subscriber is not None and not isinstance(cast("object", subscriber), ActorRef):
        raise InvalidOption("subscriber", subscriber, "an actor's ref")
    return subscriber
