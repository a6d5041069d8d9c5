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
from typing import Any, Literal, TypeAlias, TypeVar, cast

from puckstream.backends.base import Chunk, Usage
from puckstream.errors import InvalidOption, StreamError
from puckstream.streams.context import Context
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
)
from puckstream.streams.plain import plain
from puckstream.streams.response import Response, ResponseBuilder, ToolCall

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
        return {**fields, "text": self.text}
