"""The opening of streams: from an order to a running actor, its subscriber and its handler.

Everything here runs on the loop, without a pause between the look at the shelf and the entry in
it, so that of many who start one id at once exactly one finds it free.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from puckstream.actors import lifecycle
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.errors import (
    ActorDead,
    NodeNotRunning,
    PuckstreamError,
    StreamError,
    StreamRunning,
)
from puckstream.streams.audience import Audience
from puckstream.streams.family import Family, has_ended
from puckstream.streams.follower import Follower
from puckstream.streams.handle import Stream
from puckstream.streams.handler import HandlerActor
from puckstream.streams.limits import Limits, Slots, Ticket
from puckstream.streams.log import Log, StreamRecord
from puckstream.streams.order import Order
from puckstream.streams.shelf import topic
from puckstream.streams.stream import Plan, StreamActor
from puckstream.streams.supervisor import StartStream
from puckstream.streams.threads import Threads
from puckstream.streams.witness import Witness

if TYPE_CHECKING:
    from puckstream.streams.desk import Desk

__all__ = ["Opening"]

# The actors that only call the application's functions, which know nothing of messages.
_CALLING: Final = (StreamActor, Follower, HandlerActor)


class Opening:
    """Starts the streams of one node. Belongs to the loop's thread.

    Args:
        desk: the node's.
        limits: how many may run at once.

    Attributes:
        family: who ends with whom.
        slots: who has a place, and who waits for one.
    """

    def __init__(self, desk: Desk, limits: Limits) -> None:
        self._desk = desk
        self.slots = Slots(limits)
        self.family = Family(self._orphaned)
        self._threads = Threads(desk.system)
        self._draining: Reply[None] | None = None
        # The starts that wait for the end of the one they replace, and whether they are cancelled.
        self._pending: dict[str, dict[Reply[Stream], bool]] = {}

    def start(
        self,
        order: Order,
        *,
        forbidden: bool = False,
        replaces: bool = False,
        first: bool = False,
    ) -> Reply[Stream]:
        """Start a stream; see `Desk.start_stream`.

        Args:
            order: what was asked for.
            forbidden: it was cancelled meanwhile, and ends before anybody is contacted.
            replaces: it takes the place of one that has ended for it.
            first: and that one was ahead of any line.

        Raises:
            StreamRunning: if one of that id is running, and the order says so.
            TooManyStreams: if a limit is reached.
            ActorDead: if the owner has ended.
            NodeNotRunning: if the node drains.
        """
        desk, stream_id, caller = self._desk, order.stream_id, order.caller
        nested = caller is not None and issubclass(caller.actor_class, StreamActor)
        if self._draining is not None and not nested:
            msg = "the node is shutting down and starts no more streams"
            raise NodeNotRunning(msg)
        running = desk.shelf.find(stream_id, desk.now())
        if running is not None and running.log.terminal is None:
            if order.if_running == "error" or forbidden:
                raise StreamRunning(stream_id)
            if order.if_running == "join":
                return self._with_subscriber(running, self._subscriber(order))
            return self._replace(running, order, ahead=first)
        if order.owner is not None and not order.owner.is_alive():
            msg = f"{order.owner} has ended and cannot own the stream {stream_id!r}"
            raise ActorDead(msg)
        forbidden = desk.shelf.take_tombstone(stream_id, desk.now()) or forbidden
        ticket = Ticket(self.slots, ())
        if not forbidden:
            source = order.sources[0]
            ticket = self.slots.ticket(
                source.key, source.limits, counts=not nested, assured=replaces, first=first
            )
        log = Log(
            stream_id,
            desk.now(),
            input_chars=order.sources[0].input_chars,
            max_bytes=desk.shelf.log_bytes,
        )
        record = StreamRecord(log, starter=caller)
        desk.shelf.add(record)
        record.log.on_end(lambda _event: _release(record, ticket))
        self._invite(order, record, self._observe(order, record))
        if forbidden:
            desk.end(record, "user")
        elif nested and caller is not None and has_ended(caller):
            desk.end(record, "abandoned", caller)
        else:
            if nested and caller is not None:
                self.family.adopt(caller, record)
            if order.owner is not None:
                self.family.adopt(order.owner, record)
            return self._launch(order, record, ticket)
        return self._with_subscriber(record, self._subscriber(order))

    def _launch(self, order: Order, record: StreamRecord, ticket: Ticket) -> Reply[Stream]:
        """Have the supervisor start the actor."""
        desk = self._desk
        plan = Plan(
            record=record,
            sources=order.sources,
            timeout=order.timeout,
            retry=order.retry,
            ticket=ticket,
            pubsub=desk.pubsub,
            resources=desk.resources,
            threads=self._threads,
        )
        started = desk.service.call(StartStream(plan))
        opened: Reply[Stream] = Reply()

        def go_on() -> None:
            try:
                started.get()
            except NodeNotRunning as error:
                desk.end(record, "shutdown")
                opened._reject(error)
                return
            except PuckstreamError:
                # The supervisor has said the stream's last word: it is an event like others.
                pass
            except BaseException as error:  # noqa: BLE001  # the supervisor failed at the start
                what = f"{type(error).__name__}: {error}"
                desk.end(record, StreamError("crashed", f"the stream was not started: {what}"))
            handle = self._with_subscriber(record, self._subscriber(order))
            handle._when_done(lambda: _pass(handle, opened))

        started._when_done(go_on)
        return opened

    def _observe(self, order: Order, record: StreamRecord) -> Witness | None:
        """Have telemetry told of the stream, if anybody measures."""
        attachments = self._desk.telemetry.attachments
        if not attachments:
            return None
        witness = Witness(attachments, record, order.sources, self._desk.system.clock)
        witness.start(order.caller, order.context)
        return witness

    def _invite(self, order: Order, record: StreamRecord, witness: Witness | None) -> None:
        """Set the handler going, and begin to count who follows."""
        desk, log = self._desk, record.log
        ref: ActorRef[Any] | None = None
        if order.handler is not None:
            failed = None if witness is None else witness.handler_failed
            arguments = (record.id, order.handler, self._threads, failed)
            ref = lifecycle.spawn(desk.system, HandlerActor, arguments, {})
            desk.pubsub.subscribe(topic(record.id), ref, feed=desk.feed(log))
        if order.grace is not None:
            log.audience = Audience(
                desk.system,
                desk.pubsub,
                topic(record.id),
                log,
                grace=order.grace,
                abandoned=lambda: desk.cancel_record(record, "abandoned", None, wait=False),
                handler=ref,
            )
            log.audience.open()

    def _replace(self, running: StreamRecord, order: Order, *, ahead: bool) -> Reply[Stream]:
        """Cancel a running stream, and start the next when its terminal event is there."""
        stream_id, system = order.stream_id, self._desk.system
        started: Reply[Stream] = Reply()
        pending = self._pending.setdefault(stream_id, {})
        pending[started] = False
        # A stream that has not begun may be ahead of the line for the one it has replaced.
        first = ahead or running.log.last_seq > 0

        def go_on() -> None:
            forbidden = pending.pop(started)
            if not pending and self._pending.get(stream_id) is pending:
                del self._pending[stream_id]
            start = partial(self.start, order, forbidden=forbidden, replaces=True, first=first)
            following: Reply[Stream] = system.perform(start)
            following._when_done(lambda: _pass(following, started))

        self._desk.cancel_record(running, "replaced", order.caller, wait=False)
        # In a turn of its own: the end may be told from inside the supervisor.
        running.log.on_end(lambda _event: system.loop.call_soon(go_on))
        return started

    def forbid_pending(self, stream_id: str) -> bool:
        """Cancel the starts that wait for the end of the one they replace; false without any."""
        pending = self._pending.get(stream_id, {})
        for started in pending:
            pending[started] = True
        return bool(pending)

    def _orphaned(self, record: StreamRecord, owner: ActorRef[Any]) -> None:
        # In a turn of its own: the owner is in the middle of its end.
        self._desk.system.loop.call_soon(
            lambda: self._desk.cancel_record(record, "abandoned", owner, wait=False)
        )

    @staticmethod
    def _subscriber(order: Order) -> ActorRef[Any] | None:
        caller = order.caller
        if caller is None or not order.subscribe or not caller.is_alive():
            return None
        # A stream has no use for the events of another, nor a function called with events.
        return None if issubclass(caller.actor_class, _CALLING) else caller

    def _with_subscriber(
        self, record: StreamRecord, subscriber: ActorRef[Any] | None
    ) -> Reply[Stream]:
        desk, log = self._desk, record.log
        handle: Reply[Stream] = Reply()
        if subscriber is None:
            handle._resolve(Stream(desk, record))
            return handle
        subscribed = desk.pubsub.subscribe(topic(log.id), subscriber, feed=desk.feed(log))

        def done() -> None:
            try:
                subscribed.get()
            except ActorDead:
                pass  # the starter ended while it was being subscribed: leaving is not stopping
            except BaseException as error:  # noqa: BLE001  # handed to whoever waits
                handle._reject(error)
                return
            handle._resolve(Stream(desk, record))

        subscribed._when_done(done)
        return handle

    # -- the end of the node

    def drain(self, seconds: float) -> Reply[None]:
        """Start nothing more, and give what runs ``seconds`` to end; asked again, the less counts.

        Streams that a running one starts are part of that one, and still started.

        Returns:
            A reply, settled when nothing runs any more, or the time is over.
        """
        system, shelf = self._desk.system, self._desk.shelf
        drained = self._draining
        if drained is None:
            drained = self._draining = Reply()
        over = drained

        def look(_event: object = None) -> None:
            for stream_id in shelf.running():
                record = shelf.find(stream_id, self._desk.now())
                if record is not None and record.log.terminal is None:
                    record.log.on_end(look)
                    return
            over._resolve(None)

        if seconds <= 0:
            over._resolve(None)
        elif not over.done:
            timer = system.clock.call_later(seconds, over._resolve, None)
            over._when_done(timer.cancel)
            look()
        return over

    def close(self) -> None:
        """Keep no thread any more."""
        self._threads.close()


def _release(record: StreamRecord, ticket: Ticket) -> None:
    """Give back the places of a stream that has ended, once its connection is closed."""
    owner: ActorRef[Any] | None = record.owner
    if owner is None:
        ticket.release()
    else:

        def gone(_ref: ActorRef[Any], _reason: object) -> None:
            ticket.release()

        owner._on_death(gone)


def _pass(source: Reply[Any], target: Reply[Any]) -> None:
    """Settle ``target`` like ``source``, which is settled."""
    try:
        target._resolve(source.get())
    except BaseException as error:  # noqa: BLE001  # handed to whoever waits
        target._reject(error)
