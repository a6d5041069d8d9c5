"""The supervisor of a node's streams: one for one, temporary children, and an eye on every end.

A stream that was started is never started again: that would bill it twice. What the supervisor
does when a stream's actor ends without a word is to say the last word for it.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any, NamedTuple, cast

from puckstream.actors import links
from puckstream.actors.ref import ActorRef
from puckstream.actors.service import Service
from puckstream.actors.signals import KILLED, Crash, ExitReason, Killed
from puckstream.errors import Refuse, StartFailed, StreamError
from puckstream.streams.log import StreamRecord
from puckstream.streams.shelf import Shelf, topic
from puckstream.streams.stream import Plan, StreamActor
from puckstream.supervision.child import ChildSpec, child
from puckstream.supervision.dynamic import DynamicSupervisor
from puckstream.supervision.staff import Started

__all__ = ["StartStream", "StreamsSupervisor"]

logger = logging.getLogger("puckstream.streams")


class StartStream(NamedTuple):
    """Request: start the actor of a stream; asking twice starts it once."""

    plan: Plan


class StreamsSupervisor(DynamicSupervisor):
    """Starts stream actors and publishes the terminal event of one that died without.

    Streams outlive it: its next incarnation adopts those that run, and ends those whose actors
    died in between.
    """

    def __init__(self, shelf: Shelf, service: Service, pubsub: Any) -> None:
        super().__init__()
        self._shelf = shelf
        self._service = service
        self._pubsub = pubsub
        # What every running stream shares; a spec of its own would hold its prompt in memory.
        self._spec = child(StreamActor, restart="temporary", id="stream")
        self._records: dict[ActorRef[Any], StreamRecord] = {}

    def on_start(self) -> None:
        """Adopt the streams of a predecessor, and go into service."""
        for stream_id in self._shelf.running():
            record = self._shelf.find(stream_id, self._now())
            if record is None or record.owner is None:
                continue  # its start is on the way to us
            if record.owner.is_alive():
                links.adopt(self.actor_ref, record.owner)
                self._keep_stream(record)
            else:
                self._say_last_word(record, record.owner.reason or KILLED)
        self._service.provided_by(self.actor_ref)

    def on_receive(self, message: Any) -> Any:
        """Start a stream, or do what every dynamic supervisor does."""
        if type(message) is StartStream:
            return self._start_stream(message.plan)
        return super().on_receive(message)

    def child_exited(self, ref: ActorRef[Any], spec: ChildSpec, reason: ExitReason) -> None:
        """Say the last word for a stream whose actor did not."""
        super().child_exited(ref, spec, reason)
        record = self._records.pop(ref, None)
        if record is not None:
            self._say_last_word(record, reason)

    def on_stop(self) -> Any:
        """End every stream in order, each with its terminal event."""
        self._records.clear()
        return super().on_stop()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the streams running: the next supervisor takes them over."""

    def _start_stream(self, plan: Plan) -> ActorRef[Any] | None:
        record = plan.record
        if record.log.terminal is not None:
            return None
        if record.owner is not None:
            owner = cast("ActorRef[Any]", record.owner)
            return owner if owner.is_alive() else None
        spec = child(StreamActor, plan, restart="temporary", id="stream")
        try:
            started = self._staff.start(spec)
        except StartFailed as failure:
            self._say_last_word(record, failure.reason)
            raise Refuse(failure) from failure
        # A StreamActor's start never waits.
        ref = record.owner = cast("Started", started).ref
        self._keep_stream(record)
        return ref

    def _keep_stream(self, record: StreamRecord) -> None:
        self._children[record.owner] = self._spec
        self._records[record.owner] = record

    def _say_last_word(self, record: StreamRecord, reason: object) -> None:
        match reason:
            case Killed():
                error = StreamError("killed", "the stream's actor was killed")
            case Crash(cause):
                what = f"{type(cause).__name__}: {cause}"
                error = StreamError("crashed", f"the stream's actor crashed: {what}")
                error.__cause__ = cause
            case _:
                error = StreamError("crashed", f"the stream's actor ended early: {reason}")
        if record.log.fail(error, self._now()) is not None:
            self._pubsub.advance(topic(record.id))

    def _now(self) -> float:
        return self.actor_ref._system.clock.now()
