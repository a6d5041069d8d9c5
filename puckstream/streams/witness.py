"""Who tells telemetry what happens to one stream: the log says it, whoever writes the log.

The log knows of every end, also of one that a supervisor or the node has to write; so what is told
here has exactly one end because the log has. A stream that nobody measures has no witness.
"""

from __future__ import annotations

import contextvars
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from puckstream.streams.events import (
    CancelledEvent,
    ChunkEvent,
    DoneEvent,
    ErrorEvent,
    RetryingEvent,
    StreamEvent,
)
from puckstream.streams.stream import StreamActor
from puckstream.telemetry import (
    CONVERSATION,
    Attachment,
    ChunkArrived,
    FirstChunk,
    HandlerFailed,
    Record,
    Retrying,
    StreamCancelled,
    StreamFailed,
    StreamStarted,
    StreamStopped,
)

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.clock import Clock
    from puckstream.streams.log import StreamRecord, TerminalEvent
    from puckstream.streams.source import Source

__all__ = ["Witness"]


class Witness:
    """Tells a stream's life to the telemetry handlers that were attached at its start.

    Args:
        attachments: those handlers.
        record: the stream, its log still empty.
        sources: who will be asked, in their order.
        clock: the node's.
    """

    __slots__ = (
        "_attachments",
        "_attempt",
        "_chunks",
        "_clock",
        "_every_chunk",
        "_log",
        "_model",
        "_provider",
        "_run",
        "_since",
        "_sources",
        "_telling",
        "_untold",
    )

    def __init__(
        self,
        attachments: tuple[Attachment, ...],
        record: StreamRecord,
        sources: Sequence[Source],
        clock: Clock,
    ) -> None:
        self._attachments = attachments
        self._every_chunk = any(one.chunks for one in attachments)
        self._log = record.log
        self._run = record.generation
        self._sources = sources
        self._clock = clock
        info = sources[0].info
        self._provider, self._model = info.provider, info.model
        self._attempt = 1
        self._chunks = 0
        self._since = 0.0
        self._untold: list[tuple[Record, contextvars.Context | None]] = []
        self._telling = False

    def start(self, starter: ActorRef[Any] | None, context: contextvars.Context) -> None:
        """Tell the start, and from now on whatever the log says.

        Args:
            starter: the actor that started the stream, if one did.
            context: a copy of the starter's context, nobody else's.
        """
        started = StreamStarted(
            stream_id=self._log.id,
            run=self._run,
            at=self._log.created_at,
            provider=self._provider,
            model=self._model,
            base_url=self._base_url(),
            parent=_run_of(starter),
            conversation=context.get(CONVERSATION),
            context=self._sources[0].context,
        )
        self._log.on_append(self._heard)
        self._tell(started, context)

    def handler_failed(self, method: str, error: BaseException) -> None:
        """Tell that the stream's own handler failed."""
        self._tell(
            HandlerFailed(
                stream_id=self._log.id,
                run=self._run,
                at=self._clock.now(),
                method=method,
                error=error,
            )
        )

    def _heard(self, event: StreamEvent) -> None:
        if isinstance(event, ChunkEvent):
            self._heard_chunk()
        elif isinstance(event, RetryingEvent):
            self._heard_retry(event)
        elif isinstance(event, DoneEvent | ErrorEvent | CancelledEvent):
            self._heard_end(event)

    def _heard_chunk(self) -> None:
        now = self._log.last_at
        self._chunks += 1
        if self._chunks == 1:
            self._tell(
                FirstChunk(
                    stream_id=self._log.id,
                    run=self._run,
                    at=now,
                    seconds=now - self._log.created_at,
                    attempt=self._attempt,
                )
            )
        elif self._every_chunk:
            gap = now - self._since
            self._tell(ChunkArrived(stream_id=self._log.id, run=self._run, at=now, seconds=gap))
        self._since = now

    def _heard_retry(self, event: RetryingEvent) -> None:
        info = event.info
        self._attempt = info.attempt
        self._provider, self._model = info.provider, info.model
        self._tell(
            Retrying(
                stream_id=self._log.id,
                run=self._run,
                at=self._log.last_at,
                attempt=info.attempt,
                delay=info.delay,
                error=info.reason,
                reset=info.reset,
                provider=info.provider,
                model=info.model,
                base_url=self._base_url(),
            )
        )

    def _heard_end(self, event: TerminalEvent) -> None:
        log = self._log
        first = log.first_chunk_at
        known: dict[str, Any] = {
            "stream_id": log.id,
            "run": self._run,
            "at": log.last_at,
            "duration": log.last_at - log.created_at,
            "time_to_first_chunk": None if first is None else first - log.created_at,
            "chunks": self._chunks,
            "attempt": self._attempt,
            "provider": self._provider,
            "model": self._model,
            "response_model": log._answer.model,
            "usage": log.usage,
        }
        if isinstance(event, DoneEvent):
            self._tell(StreamStopped(response=event.response, **known))
        elif isinstance(event, ErrorEvent):
            self._tell(StreamFailed(error=event.reason, content=event.content, **known))
        else:
            self._tell(
                StreamCancelled(reason=event.reason, by=event.by, content=event.content, **known)
            )

    def _base_url(self) -> str | None:
        for source in self._sources:
            if (source.info.provider, source.info.model) == (self._provider, self._model):
                return source.base_url
        return None

    def _tell(self, record: Record, context: contextvars.Context | None = None) -> None:
        """Tell ``record`` after whatever is being told, should a handler have caused it."""
        self._untold.append((record, context))
        if self._telling:
            return
        self._telling = True
        while self._untold:
            told, context = self._untold.pop(0)
            for attachment in self._attachments:
                if type(told) is ChunkArrived and not attachment.chunks:
                    continue
                if context is None:
                    attachment.tell(told)
                else:
                    context.run(attachment.tell, told)
        self._telling = False


def _run_of(starter: ActorRef[Any] | None) -> int | None:
    """Return the run of the stream whose function the starter runs, if it runs one."""
    actor = None if starter is None else starter._actor
    return actor.record.generation if isinstance(actor, StreamActor) else None
