"""The append-only record of one stream: its events, its text so far, its one end.

The rules, all decided here:

- ``seq`` is 1, 2, 3 … without gaps; the log gives the numbers.
- The first terminal event wins. Whatever is appended after it is refused with ``None``: a chunk
  that comes in just after a cancel, or the supervisor's ``killed`` for a stream that was done,
  is no error, only late.
- The terminal event carries the content and usage of the log itself.
- Listeners hear of every event in ``seq`` order, also when one of them appends.

A chunk is stored as it is, and its event made again for whoever reads it: an event with its
attributes is four times as large as the chunk.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast

from puckstream.errors import InvalidOption, StreamError
from puckstream.streams.events import (
    CancelledEvent,
    CancelReason,
    ChunkEvent,
    DoneEvent,
    ErrorEvent,
    Event,
    RetryInfo,
    RetryingEvent,
    StartedEvent,
    StartInfo,
    StreamEvent,
    chunk_event,
    error_to_dict,
)
from puckstream.streams.plain import plain
from puckstream.streams.response import Response, ResponseBuilder, ToolCall

if TYPE_CHECKING:
    from puckstream.backends.base import Chunk, Usage
    from puckstream.streams.context import Context

__all__ = ["Listener", "Log", "Snapshot", "Status", "StreamRecord", "TerminalEvent"]

Status = Literal["starting", "running", "done", "error", "cancelled"]
"""Where a stream is in its life; the last three are final."""

TerminalEvent: TypeAlias = DoneEvent | ErrorEvent | CancelledEvent
Listener: TypeAlias = Callable[[StreamEvent], object]

E = TypeVar("E", bound=StreamEvent)

_logger = logging.getLogger("puckstream.streams")

# What an entry of the log takes beside its content: list slot, tuple, builder's slot.
_ENTRY_BYTES = 96


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stream at one moment.

    Args:
        id: the stream's id.
        status: where it is in its life.
        seq: the number of the last event the snapshot includes; follow on with ``after=seq``.
        content: the text so far, or the last structured partial.
        thinking: the thinking so far.
        tool_calls: the tool calls so far; the arguments of a running stream may be incomplete.
        usage: the token counts so far; ``usage.estimated`` says whether they were counted here.
        model: the model that answers, once it is known.
        reason: the `StreamError`, or why it was cancelled; ``None`` otherwise.
        age: seconds since the stream was made.
        ended: seconds since its end; ``None`` while it runs.
        generation: which run of this node's it is; another run of the same id has another.
    """

    id: str
    status: Status
    seq: int
    content: Any
    thinking: str
    tool_calls: tuple[ToolCall, ...]
    usage: Usage
    model: str | None
    reason: StreamError | CancelReason | None
    age: float
    ended: float | None
    generation: int

    @property
    def text(self) -> str:
        """The content as text: itself, or the structure as JSON."""
        return Response(content=self.content).text

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, and ``text``, ready for JSON."""
        fields: dict[str, Any] = plain(self)
        if isinstance(self.reason, StreamError):
            fields["reason"] = error_to_dict(self.reason)
        return {**fields, "text": self.text}


class Log:
    """The record of one stream. Belongs to one thread; nothing here blocks.

    Args:
        stream_id: the stream's id.
        now: the clock's time, in seconds.
        input_chars: how many characters the request holds, for estimated usage.

    Attributes:
        id: the stream's id.
        generation: which run of this node's it is; the shelf sets it.
        status: where the stream is in its life.
        terminal: the event that ended the stream, or ``None``.
        created_at: when the log was made, in the clock's seconds.
        first_chunk_at: when the first chunk came, or ``None``.
        last_at: when the last event came, or the log was made.
        size: about how many bytes the log takes; objects in a chunk count without their parts.
    """

    __slots__ = (
        "_answer",
        "_entries",
        "_keys",
        "_listeners",
        "_model",
        "_on_end",
        "_telling",
        "_untold",
        "created_at",
        "first_chunk_at",
        "generation",
        "id",
        "last_at",
        "size",
        "status",
        "terminal",
    )

    def __init__(self, stream_id: str, now: float, *, input_chars: int | None = None) -> None:
        self.id = stream_id
        self.generation = 0
        self.status: Status = "starting"
        self.terminal: TerminalEvent | None = None
        self.created_at = now
        self.first_chunk_at: float | None = None
        self.last_at = now
        self.size = 0
        self._answer = ResponseBuilder(input_chars=input_chars)
        self._model: str | None = None
        # A chunk, or the event of anything else; its seq is its position, counted from 1.
        self._entries: list[Chunk | StreamEvent] = []
        self._keys = 0
        self._listeners: dict[int, tuple[int, Listener]] = {}
        self._on_end: dict[int, Callable[[TerminalEvent], object]] = {}
        self._telling = False
        self._untold: list[StreamEvent] = []

    @property
    def last_seq(self) -> int:
        """The number of the last event; 0 before the first."""
        return len(self._entries)

    @property
    def ended_at(self) -> float | None:
        """When the terminal event was appended, or ``None``."""
        return None if self.terminal is None else self.last_at

    @property
    def content(self) -> Any:
        """The content so far: text, or the last structured partial."""
        return self._answer.content

    @property
    def thinking(self) -> str:
        """The thinking so far."""
        return self._answer.thinking

    @property
    def usage(self) -> Usage:
        """The token counts so far; see `ResponseBuilder`."""
        return self._answer.usage

    def add(self, chunk: Chunk, now: float) -> StreamEvent | None:
        """Append the event of ``chunk`` and return it; ``None`` if the stream has ended.

        Takes the same time however long the log is. The log is unchanged if this raises.

        Args:
            chunk: what the source produced.
            now: the clock's time, in seconds.

        Raises:
            StreamError: of kind ``protocol``, if the chunk breaks the protocol; see `chunk_event`
                and `ResponseBuilder`. Pass it to `fail` to end the stream.
        """
        if self.terminal is not None:
            return None
        event = chunk_event(chunk, len(self._entries) + 1)
        self._answer.add(chunk)
        self._note_chunk(chunk, now)
        self._entries.append(chunk)
        if self._listeners:
            self._tell(event)
        return event

    def append(self, make_event: Callable[[int], E], now: float) -> E | None:
        """Append the event ``make_event(seq)`` and return it; ``None`` if the stream has ended.

        Args:
            make_event: makes the event for the number it is given; not called after the end.
            now: the clock's time, in seconds.

        Raises:
            StreamError: as `add` does, if it is the event of a chunk.
            ValueError: if the event has another number.
        """
        if self.terminal is not None:
            return None
        event = make_event(len(self._entries) + 1)
        if event.seq != len(self._entries) + 1:
            msg = f"the event's seq is {event.seq}, the log's next is {len(self._entries) + 1}"
            raise ValueError(msg)
        if isinstance(event, ChunkEvent):
            self._answer.add(event.chunk)
            self._note_chunk(event.chunk, now)
            self._entries.append(event.chunk)
        else:
            self._note(event, now)
            self._entries.append(event)
        if isinstance(event, TerminalEvent):
            self._end(event)
        if self._listeners:
            self._tell(event)
        return event

    def start(self, info: StartInfo, now: float) -> StartedEvent | None:
        """Append ``started``; ``None`` if the stream has ended."""
        return self.append(lambda seq: StartedEvent(info, seq=seq), now)

    def retry(self, info: RetryInfo, now: float) -> RetryingEvent | None:
        """Append ``retrying``; ``None`` if the stream has ended.

        With ``info.reset`` the content, thinking, tool calls and usage so far are void.
        """
        return self.append(lambda seq: RetryingEvent(info, seq=seq), now)

    def finish(self, context: Context, now: float) -> DoneEvent | None:
        """Append ``done`` with the answer so far; ``None`` if the stream has ended.

        Args:
            context: the conversation up to and with the user's turn; the answer is appended here.
            now: the clock's time, in seconds.
        """

        def done(seq: int) -> DoneEvent:
            response = self._answer.build()
            return DoneEvent(response, context.reply(response), seq=seq)

        return self.append(done, now)

    def fail(self, error: StreamError, now: float) -> ErrorEvent | None:
        """Append ``error`` with the content and usage so far; ``None`` if the stream has ended."""
        return self.append(
            lambda seq: ErrorEvent(error, content=self.content, usage=self.usage, seq=seq), now
        )

    def cancel(self, reason: CancelReason, now: float, *, by: Any = None) -> CancelledEvent | None:
        """Append ``cancelled`` with the content and usage so far; ``None`` if it has ended."""
        return self.append(
            lambda seq: CancelledEvent(
                self.content, reason=reason, by=by, usage=self.usage, seq=seq
            ),
            now,
        )

    def read(self, after: int = 0, limit: int | None = None) -> list[StreamEvent]:
        """Return the events numbered ``after + 1`` and on, in order; at most ``limit``.

        Takes time for the events returned only. There are none beyond the last.

        Raises:
            InvalidOption: if ``after`` or ``limit`` is negative or not a whole number.
        """
        first = _whole("after", after)
        stop = None if limit is None else first + _whole("limit", limit)
        return [
            entry if isinstance(entry, Event) else chunk_event(entry, seq)
            for seq, entry in enumerate(self._entries[first:stop], first + 1)
        ]

    def snapshot(self, now: float) -> Snapshot:
        """Return the stream as it stands at ``now``, in the clock's seconds."""
        ended_at = self.ended_at
        terminal = self.terminal
        answer = self._answer
        return Snapshot(
            id=self.id,
            status=self.status,
            seq=self.last_seq,
            content=answer.content,
            thinking=answer.thinking,
            tool_calls=answer.tool_calls,
            usage=answer.usage,
            model=answer.model or self._model,
            reason=terminal.reason if isinstance(terminal, ErrorEvent | CancelledEvent) else None,
            age=now - self.created_at,
            ended=None if ended_at is None else now - ended_at,
            generation=self.generation,
        )

    def on_append(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener(event)`` for every event appended from now on, until it is removed.

        Listeners are called on the spot, after the append, in the order of their registration.
        What one raises, ``SystemExit`` included, is logged and disturbs neither the others nor the
        append. An event that a listener appends is told after the one under way has been told to
        all. After the terminal event they are removed.

        Returns:
            A function that removes the listener; calling it again does nothing.
        """
        self._keys += 1
        key = self._keys
        self._listeners[key] = (len(self._entries), listener)
        return partial(_discard, self._listeners, key)

    def on_end(self, callback: Callable[[TerminalEvent], object]) -> Callable[[], None]:
        """Call ``callback(event)`` once, with the terminal event; at once if there is one.

        Called before the listeners hear of the event. What it raises is logged.

        Returns:
            A function that takes the callback back; calling it again does nothing.
        """
        self._keys += 1
        key = self._keys
        self._on_end[key] = callback
        if self.terminal is not None:
            self._end(self.terminal)
        return partial(_discard, self._on_end, key)

    def __repr__(self) -> str:
        return f"<Log of {self.id!r}: {self.status}, {self.last_seq} events>"

    def _note_chunk(self, chunk: Chunk, now: float) -> None:
        _, content, metadata = chunk
        self.size += _ENTRY_BYTES
        if isinstance(content, str) and not metadata:
            self.size += sys.getsizeof(content)
        else:
            self.size += _weigh(content) + _weigh(metadata)
        self.last_at = now
        if self.first_chunk_at is None:
            self.first_chunk_at = now
            self.status = "running"

    def _note(self, event: StreamEvent, now: float) -> None:
        self.size += _ENTRY_BYTES
        self.last_at = now
        if isinstance(event, StartedEvent):
            self.status = "running"
            self._model = event.info.model
        elif isinstance(event, RetryingEvent):
            if event.info.reset:
                self._answer.reset()
        elif isinstance(event, DoneEvent):
            self.status, self.terminal = "done", event
            self.size += _weigh(event.response.content) + _weigh(tuple(event.context))
        elif isinstance(event, ErrorEvent):
            self.status, self.terminal = "error", event
            self.size += _weigh(event.content)
        elif isinstance(event, CancelledEvent):
            self.status, self.terminal = "cancelled", event
            self.size += _weigh(event.content)

    def _end(self, event: TerminalEvent) -> None:
        while self._on_end:
            callback = self._on_end.pop(next(iter(self._on_end)))
            self._call(callback, event)

    def _tell(self, event: StreamEvent) -> None:
        self._untold.append(event)
        if self._telling:
            return
        self._telling = True
        try:
            while self._untold:
                told = self._untold.pop(0)
                for key, (since, listener) in tuple(self._listeners.items()):
                    if told.seq > since and key in self._listeners:
                        self._call(listener, told)
        finally:
            self._telling = False
        if self.terminal is not None:
            # Nothing follows: let go of whatever the listeners hold.
            self._listeners.clear()

    def _call(self, function: Callable[[Any], object], event: StreamEvent) -> None:
        try:
            function(event)
        except BaseException:  # a listener's SystemExit is the listener's own affair
            _logger.exception(
                "a listener of stream %r failed at event %d (%s)", self.id, event.seq, event.kind
            )


@dataclass(slots=True, eq=False)
class StreamRecord:
    """A stream as its node keeps it: the log, which outlives the actor, and who is behind it.

    Args:
        log: the stream's log.
        owner: the ref of the stream actor, once there is one.
        starter: the ref of whoever started the stream, or ``None``.
    """

    log: Log
    owner: Any = None
    starter: Any = None

    @property
    def id(self) -> str:
        """The stream's id."""
        return self.log.id

    @property
    def generation(self) -> int:
        """Which run of this node's it is; the shelf numbers them."""
        return self.log.generation

    @property
    def created_at(self) -> float:
        """When it was made, in the clock's seconds."""
        return self.log.created_at

    @property
    def ended_at(self) -> float | None:
        """When it ended, in the clock's seconds, or ``None``."""
        return self.log.ended_at


def _discard(table: dict[int, Any], key: int) -> None:
    table.pop(key, None)


def _whole(option: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidOption(option, value, "give a whole number, 0 or more")
    return value


def _weigh(value: object) -> int:
    """Estimate the bytes ``value`` takes; shared parts count once, attributes not at all."""
    total = 0
    seen: set[int] = set()
    pending = [value]
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        # An estimate must not fail, whatever objects a user's function puts into its chunks.
        try:
            total += sys.getsizeof(item, 64)
            if isinstance(item, Mapping):
                entries = cast("Mapping[object, object]", item)
                pending += [part for pair in entries.items() for part in pair]
            elif isinstance(item, list | tuple | set | frozenset):
                pending.extend(cast("Iterable[object]", item))
        except Exception:  # noqa: BLE001
            total += 64
    return total
