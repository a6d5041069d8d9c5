"""A stream at one moment, in one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from puckstream.backends.base import Usage
from puckstream.errors import StreamError
from puckstream.streams.events import CancelReason, error_to_dict
from puckstream.streams.plain import plain
from puckstream.streams.response import Response, ToolCall

__all__ = ["Snapshot", "Status"]

Status = Literal["starting", "queued", "running", "done", "error", "cancelled"]
"""Where a stream is in its life; the last three are final."""


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
