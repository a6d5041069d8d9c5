"""Everything one can do with the streams of a node: start, follow, cancel, look.

All methods can be called from the loop, from actors and from any thread. Those that answer later
return a `Reply`: await it, or ``get()`` it in a thread that runs no event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast
from weakref import WeakValueDictionary

from puckstream.actors import links
from puckstream.actors.pubsub import Position, PubSub
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import CURRENT, Scheduler
from puckstream.actors.service import Service
from puckstream.actors.signals import SHUTDOWN
from puckstream.backends.base import Resources
from puckstream.errors import (
    ActorDead,
    InvalidOption,
    NodeNotRunning,
    NotInActor,
    PuckstreamError,
    StreamError,
    StreamExpired,
    StreamNotFound,
    StreamRunning,
)
from puckstream.streams.client import Client
from puckstream.streams.context import Context, Prompt
from puckstream.streams.handle import Stream
from puckstream.streams.log import Log, Snapshot, StreamRecord
from puckstream.streams.policy import Timeout
from puckstream.streams.shelf import Shelf, check_id, generate_id, topic
from puckstream.streams.source import Source, as_source
from puckstream.streams.stream import Cancel, CancelOutcome, Plan, StreamActor
from puckstream.streams.subscription import LogFeed
from puckstream.streams.supervisor import StartStream

if TYPE_CHECKING:
    from puckstream.streams.events import CancelReason

__all__ = ["Desk", "IfRunning"]

IfRunning = Literal["error", "join", "replace"]
"""What a start does if a stream of that id is running."""


class _Order(NamedTuple):
    """One start, as it was asked for."""

    source: Source
    stream_id: str
    timeout: Timeout
    caller: ActorRef[Any] | None
    subscribe: bool
    if_running: IfRunning

    @property
    def subscriber(self) -> ActorRef[Any] | None:
        return self.caller if self.subscribe else None


class Desk:
    """The streams of one node.

    Args:
        system: the node's engine.
        shelf: the table of streams.
        pubsub: broadcasts their events.
        resources: what backends keep open.
    """

    def __init__(
        self, system: Scheduler, shelf: Shelf, pubsub: PubSub, resources: Resources
    ) -> None:
        self.system = system
        self.shelf = shelf
        self.pubsub = pubsub
        self.resources = resources
        self.service = Service(system, "streams supervisor")
        # One feed for each log as long as somebody follows it; by generation, which is unique.
        self._feeds: WeakValueDictionary[int, LogFeed] = WeakValueDictionary()

    def _now(self) -> float:
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
        subscribe: bool = True,
        if_running: IfRunning = "error",
        **backend_options: Any,
    ) -> Reply[Stream]:
        """Start a stream; returns before the provider is contacted.

        Everything that goes wrong later is an event. Nothing is started if this raises. What a
        stream's own function starts ends with that stream at the latest.

        Args:
            source: a client; an async generator function of chunks or text; an
                ``async def f(emit)``; or a blocking ``def f(emit)``, run in a thread.
            prompt: what to ask the client's model.
            context: the conversation so far.
            stream_id: printable text of 1 to 200 characters; a new unguessable one by default.
            timeout: see `Timeout`; a number is the total, in seconds.
            subscribe: subscribe the calling actor, if there is one, from the first event on.
            if_running: what happens if a stream of that id is running: ``"error"``, ``"join"``
                (the running one is returned) or ``"replace"`` (that one is cancelled first).
            backend_options: passed on to the provider: ``temperature``, ``tools``, ….

        Raises (when awaited):
            StreamRunning: if one of that id is running, with ``if_running="error"``.
            NodeNotRunning: if the node is shutting down.

        Raises (at once):
            InvalidOption: if an argument has an impossible value.
        """
        if if_running not in ("error", "join", "replace"):
            raise InvalidOption("if_running", if_running, "'error', 'join' or 'replace'")
        checked_id = generate_id() if stream_id is None else check_id(stream_id)
        checked_timeout = Timeout.of(timeout)
        made = as_source(source, prompt, context, backend_options)
        order = _Order(made, checked_id, checked_timeout, CURRENT.get(), subscribe, if_running)
        return self.system.perform(self._start, order)

    def _start(self, order: _Order) -> Reply[Stream]:
        stream_id, caller = order.stream_id, order.caller
        running = self.shelf.find(stream_id, self._now())
        if running is not None and running.log.terminal is None:
            if order.if_running == "error":
                raise StreamRunning(stream_id)
            if order.if_running == "join":
                return self._with_subscriber(running.log, order.subscriber)
            return self._replace(running, order)
        record = StreamRecord(Log(stream_id, self._now()), starter=caller)
        forbidden = self.shelf.take_tombstone(stream_id, self._now())
        self.shelf.add(record)
        if forbidden:
            # Cancelled before it was started: it ends before anybody is contacted.
            record.log.cancel("user", self._now())
            return self._with_subscriber(record.log, order.subscriber)
        if caller is not None and issubclass(caller.actor_class, StreamActor):
            self._end_with(caller, record)
            order = order._replace(subscribe=False)  # it has no use for another's events
        plan = Plan(record, order.source, order.timeout, self.pubsub, self.resources)
        started = self.service.call(StartStream(plan))
        opened: Reply[Stream] = Reply()

        def go_on() -> None:
            try:
                started.get()
            except NodeNotRunning as error:
                self._end(record, "shutdown")
                opened._reject(error)
                return
            except PuckstreamError:
                # The supervisor has said the stream's last word: it is an event like others.
                pass
            except BaseException as error:  # noqa: BLE001  # the supervisor failed at the start
                what = f"{type(error).__name__}: {error}"
                self._end(record, StreamError("crashed", f"the stream was not started: {what}"))
            handle = self._with_subscriber(record.log, order.subscriber)
            handle._when_done(lambda: _pass(handle, opened))

        started._when_done(go_on)
        return opened

    def _replace(self, running: StreamRecord, order: _Order) -> Reply[Stream]:
        """Cancel a running stream, and start the next when its terminal event is there."""
        started: Reply[Stream] = Reply()

        def go_on() -> None:
            following: Reply[Stream] = self.system.perform(self._start, order)
            following._when_done(lambda: _pass(following, started))

        self._cancel_record(running, "replaced", order.caller, wait=False)
        # In a turn of its own: the end may be told from inside the supervisor.
        running.log.on_end(lambda _event: self.system.loop.call_soon(go_on))
        return started

    def _end_with(self, caller: ActorRef[Any], record: StreamRecord) -> None:
        """Have a stream that another stream's function started end with that one."""
        stream_id, generation = record.id, record.generation

        def ended(_ref: ActorRef[Any], _reason: object) -> None:
            started = self.shelf.find(stream_id, self._now())
            if started is not None and started.generation == generation:
                self._cancel_record(started, "abandoned", caller, wait=False)

        caller._on_death(ended)

    def _with_subscriber(self, log: Log, subscriber: ActorRef[Any] | None) -> Reply[Stream]:
        handle: Reply[Stream] = Reply()
        if subscriber is None or not subscriber.is_alive():
            handle._resolve(Stream(self, log))
            return handle
        subscribed = self.pubsub.subscribe(topic(log.id), subscriber, feed=self._feed(log))

        def done() -> None:
            try:
                subscribed.get()
            except ActorDead:
                pass  # the starter ended while it was being subscribed: leaving is not stopping
            except BaseException as error:  # noqa: BLE001  # handed to whoever waits
                handle._reject(error)
                return
            handle._resolve(Stream(self, log))

        subscribed._when_done(done)
        return handle

    def _feed(self, log: Log) -> LogFeed:
        feed = self._feeds.get(log.generation)
        if feed is None:
            feed = self._feeds[log.generation] = LogFeed(log)
        return feed

    # -- follow

    def subscribe(
        self, stream_id: str, *, after: Position = 0, subscriber: ActorRef[Any] | None = None
    ) -> Reply[None]:
        """Subscribe an actor: it gets ``("puck_stream", id, event)`` messages.

        What the log holds behind ``after`` comes first, then what happens, without gap or
        duplicate; after the terminal event the subscription is over. Subscribing again while
        subscribed changes nothing.

        Args:
            stream_id: the stream.
            after: a seq (0: from the beginning), or ``"now"``.
            subscriber: who; the calling actor by default.

        Raises (when awaited):
            StreamNotFound: if no stream of that id was ever started here.
            StreamExpired: if it ended and its log is no longer kept.
            ActorDead: if the subscriber has stopped.

        Raises (at once):
            NotInActor: if no actor is calling and no ``subscriber`` is given.
            InvalidOption: if ``after`` is no position, or another argument of the wrong type.
        """
        _check_text(stream_id)
        ref = _check_ref(CURRENT.get() if subscriber is None else subscriber)
        if ref is None:
            msg = "subscribe() needs subscriber=…; to iterate, use 'stream.subscribe()'"
            raise NotInActor(msg)
        if after != "now" and (type(after) is not int or after < 0):
            raise InvalidOption("after", after, "a seq ≥ 0, or 'now'")

        def subscribe_to_log() -> Reply[None]:
            log = self.shelf.get(stream_id, self._now()).log
            return self.pubsub.subscribe(topic(stream_id), ref, feed=self._feed(log), after=after)

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

    def stream(self, stream_id: str) -> Reply[Stream]:
        """Return the handle of a stream that runs or is still kept.

        Raises (when awaited):
            StreamNotFound: if no stream of that id was ever started here.
            StreamExpired: if it ended and its log is no longer kept.

        Raises (at once):
            InvalidOption: if ``stream_id`` is no text.
        """
        _check_text(stream_id)
        return self.system.perform(lambda: Stream(self, self.shelf.get(stream_id, self._now()).log))

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
        try:
            record = self.shelf.get(stream_id, self._now())
        except StreamExpired:
            outcome._resolve("already_done")
        except StreamNotFound:
            self.shelf.forbid(stream_id, self._now())
            outcome._resolve("not_found")
        else:
            return self._cancel_record(record, reason, by, wait=wait)
        return outcome

    def _cancel_record(
        self, record: StreamRecord, reason: CancelReason, by: Any, *, wait: bool
    ) -> Reply[CancelOutcome]:
        outcome: Reply[CancelOutcome] = Reply()
        owner = cast("ActorRef[Any] | None", record.owner)
        if owner is None:
            # Its actor is not started yet, if it ever will be.
            outcome._resolve("cancelled" if self._end(record, reason, by) else _found(record.log))
            return outcome
        asked = owner.call(Cancel(reason, by), timeout=None, control=True)

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
                owner.wait_stopped()._when_done(lambda: outcome._resolve(said))
            else:
                outcome._resolve(said)

        asked._when_done(answered)
        return outcome

    def _end(self, record: StreamRecord, how: CancelReason | StreamError, by: Any = None) -> bool:
        """Write the terminal event in place of an actor; false if there is one already."""
        if isinstance(how, StreamError):
            event: object = record.log.fail(how, self._now())
        else:
            event = record.log.cancel(how, self._now(), by=by)
        if event is not None:
            self.pubsub.advance(topic(record.id))
        return event is not None

    def end_rest(self, how: CancelReason | StreamError) -> None:
        """End the streams that no supervisor is left to end, and their actors. On the loop."""
        for stream_id in self.shelf.running():
            record = self.shelf.get(stream_id, self._now())
            self._end(record, how)
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
            lambda: self.shelf.get(stream_id, self._now()).log.snapshot(self._now())
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


def _pass(source: Reply[Any], target: Reply[Any]) -> None:
    """Settle ``target`` like ``source``, which is settled."""
    try:
        target._resolve(source.get())
    except BaseException as error:  # noqa: BLE001  # handed to whoever waits
        target._reject(error)
