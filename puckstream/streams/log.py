"""The append-only record of one stream: its events, its text so far, its one end.

The rules, all decided here:

- ``seq`` is 1, 2, 3 … without gaps; the log gives the numbers.
- The first terminal event wins. Whatever is appended after it is refused with ``None``: a chunk
  that comes in just after a cancel, or the supervisor's ``killed`` for a stream that was done,
  is no error, only late.
- The terminal event carries the content and usage of the log itself.
- Listeners hear of every event in ``seq`` order, also when one of them appends.

A chunk is stored as it is, and its event made again for whoever reads it: an event with its
attributes is four times as large as the chunk. The entries take a limited number of bytes, see
`Entries`; who begins behind what is gone gets a `SkippedEvent` in its place. The answer itself is
kept whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from weakref import WeakSet

from puckstream.errors import InvalidOption, StreamError
from puckstream.streams.entries import LOG_BYTES, Entries, Entry, weigh
from puckstream.streams.events import (
    CancelledEvent,
    CancelReason,
    ChunkEvent,
    ContentEvent,
    DoneEvent,
    ErrorEvent,
    Event,
    RetryInfo,
    RetryingEvent,
    SkippedEvent,
    StartedEvent,
    StartInfo,
    StreamEvent,
    chunk_event,
)
from puckstream.streams.response import ResponseBuilder
from puckstream.streams.snapshot import Snapshot, Status

if TYPE_CHECKING:
    from puckstream.backends.base import Chunk, Usage
    from puckstream.streams.audience import Audience
    from puckstream.streams.context import Context

__all__ = ["Listener", "Log", "StreamRecord", "TerminalEvent"]

TerminalEvent: TypeAlias = DoneEvent | ErrorEvent | CancelledEvent
Listener: TypeAlias = Callable[[StreamEvent], object]

E = TypeVar("E", bound=StreamEvent)

_logger = logging.getLogger("puckstream.streams")


class Log:
    """The record of one stream. Belongs to one thread; nothing here blocks.

    Args:
        stream_id: the stream's id.
        now: the clock's time, in seconds.
        input_chars: how many characters the request holds, for estimated usage.
        max_bytes: how many bytes its entries may take, by their own estimate.

    Attributes:
        id: the stream's id.
        generation: which run of this node's it is; the shelf sets it.
        status: where the stream is in its life.
        terminal: the event that ended the stream, or ``None``.
        created_at: when the log was made, in the clock's seconds.
        first_chunk_at: when the first chunk came, or ``None``.
        last_at: when the last event came, or the log was made.
        audience: counts who follows a stream that is to end when nobody does, else ``None``.
        followers: those who iterate, for their statistics; ``None`` before the first.
    """

    __slots__ = (
        "_answer",
        "_end_size",
        "_entries",
        "_keys",
        "_listeners",
        "_model",
        "_on_end",
        "_reset_at",
        "_telling",
        "_untold",
        "audience",
        "created_at",
        "first_chunk_at",
        "followers",
        "generation",
        "id",
        "last_at",
        "status",
        "terminal",
    )

    def __init__(
        self,
        stream_id: str,
        now: float,
        *,
        input_chars: int | None = None,
        max_bytes: float = LOG_BYTES,
    ) -> None:
        self.id = stream_id
        self.generation = 0
        self.status: Status = "starting"
        self.terminal: TerminalEvent | None = None
        self.created_at = now
        self.first_chunk_at: float | None = None
        self.last_at = now
        self.audience: Audience | None = None
        self.followers: WeakSet[Any] | None = None
        self._answer = ResponseBuilder(input_chars=input_chars)
        self._model: str | None = None
        # A chunk, or the event of anything else; its seq is its number.
        self._entries = Entries(max_bytes)
        self._end_size = 0
        self._reset_at = 0  # the number of the last event that made the text before it void
        self._keys = 0
        self._listeners: dict[int, tuple[int, Listener]] = {}
        self._on_end: dict[int, Callable[[TerminalEvent], object]] = {}
        self._telling = False
        self._untold: list[StreamEvent] = []

    @property
    def last_seq(self) -> int:
        """The number of the last event; 0 before the first."""
        return self._entries.last

    @property
    def size(self) -> int:
        """About how many bytes the log takes; objects in a chunk count without their parts."""
        return self._entries.size + self._end_size

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
        event = chunk_event(chunk, self._entries.last + 1)
        self._answer.add(chunk)
        self._note_chunk(now)
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
        number = self._entries.last + 1
        event = make_event(number)
        if event.seq != number:
            msg = f"the event's seq is {event.seq}, the log's next is {number}"
            raise ValueError(msg)
        if isinstance(event, ChunkEvent):
            self._answer.add(event.chunk)
            self._note_chunk(now)
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
        count = None if limit is None else _whole("limit", limit)
        if count == 0:
            return []
        skipped = self._skipped(first)
        if skipped is not None:
            first, count = skipped.seq, None if count is None else count - 1
        events = [
            entry if isinstance(entry, Event) else chunk_event(entry, seq)
            for seq, entry in self._entries.read(first, count)
        ]
        return events if skipped is None else [skipped, *events]

    def joined(self, after: int, limit: int | None = None) -> list[StreamEvent]:
        """Return what follows seq ``after`` with adjacent deltas joined; at most ``limit``.

        A joined event has the ``seq`` of its last one and the ``first_seq`` of its first. Takes
        time for what is returned only.
        """
        skipped = self._skipped(after)
        if skipped is not None:
            if limit == 1:
                return [skipped]
            return [skipped, *self.joined(skipped.seq, None if limit is None else limit - 1)]
        return [
            _event(entry, first, last)
            for entry, first, last in islice(self._entries.runs(after), limit)
        ]

    def _skipped(self, after: int) -> SkippedEvent | None:
        """Return what stands for the events behind ``after``, if some of them are gone.

        It goes as far as there is a state of the answer to speak of: up to now, or the end.
        """
        if after >= self._entries.dropped:
            return None
        last = self.last_seq - (self.terminal is not None)
        reset = after < self._reset_at <= last
        return SkippedEvent(self._answer.build(), first_seq=after + 1, seq=last, reset=reset)

    def text_length(self, seq: int) -> int:
        """Return how many characters of the present text there were at ``seq``.

        0 if that is not known any more, or the content is no text. Takes time for what is behind.
        """
        content = self.content
        if not isinstance(content, str) or seq < max(self._reset_at, self._entries.dropped):
            return 0
        events = self.joined(seq)
        return len(content) - sum(
            len(event.chunk.content) for event in events if isinstance(event, ContentEvent)
        )

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
        self._listeners[key] = (self._entries.last, listener)
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

    def _note_chunk(self, now: float) -> None:
        self.last_at = now
        if self.first_chunk_at is None:
            self.first_chunk_at = now
            self.status = "running"

    def _note(self, event: StreamEvent, now: float) -> None:
        self.last_at = now
        if isinstance(event, StartedEvent):
            self.status = "running"
            self._model = event.info.model
        elif isinstance(event, RetryingEvent):
            if event.info.reset:
                self._answer.reset()
                self._reset_at = event.seq
        elif isinstance(event, DoneEvent):
            self.status, self.terminal = "done", event
            self._end_size = weigh(event.response.content) + weigh(tuple(event.context))
        elif isinstance(event, ErrorEvent):
            self.status, self.terminal = "error", event
            self._end_size = weigh(event.content)
        elif isinstance(event, CancelledEvent):
            self.status, self.terminal = "cancelled", event
            self._end_size = weigh(event.content)

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


def _event(entry: Entry, first: int, last: int) -> StreamEvent:
    if isinstance(entry, Event):
        return entry
    event = chunk_event(entry, last)
    if first != last:
        event.__dict__["first_seq"] = first
    return event


def _discard(table: dict[int, Any], key: int) -> None:
    table.pop(key, None)


def _whole(option: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidOption(option, value, "give a whole number, 0 or more")
    return value
