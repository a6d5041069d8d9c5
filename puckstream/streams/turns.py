"""What a conversation tells its subscribers.

Its events are real tuples like those of a stream, and numbered by ``seq`` like them, but they are
the conversation's own, and there are few of them: the text of an answer travels on the stream that
writes it, and here only once, as a turn.

============= ===================== ======================= =====================================
kind          class                 payload                 meaning
============= ===================== ======================= =====================================
``snapshot``  `SnapshotEvent`       snapshot                the conversation as it stands at
                                                            ``seq``; first, for who joins late
``answering`` `AnsweringEvent`      n, prompt, stream_id    an answer is being written, by that
                                                            stream; the prompt will be turn ``n``
``turn``      `TurnEvent`           n, role, content        turn ``n`` was added
``cut``       `CutEvent`            n                       the turns from ``n`` on are void
``stopped``   `StoppedEvent`        n, reason, content      the answer was cancelled
``failed``    `FailedEvent`         n, reason, content      the answer failed
``closed``    `ClosedEvent`                                 the conversation has ended
============= ===================== ======================= =====================================

``answering`` is followed by the turns, by ``stopped`` or by ``failed``; ``stopped`` comes behind
the turns if what had been written is kept.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias, TypeVarTuple

from puckstream.errors import StreamError
from puckstream.streams.context import Context, Prompt
from puckstream.streams.events import CancelReason, Event, error_to_dict
from puckstream.streams.plain import plain

__all__ = [
    "AnsweringEvent",
    "ClosedEvent",
    "ConversationEvent",
    "ConversationSnapshot",
    "CutEvent",
    "Draft",
    "FailedEvent",
    "SnapshotEvent",
    "StoppedEvent",
    "TurnEvent",
]

Payload = TypeVarTuple("Payload")

_new: Any = tuple.__new__  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]


@dataclass(frozen=True, slots=True)
class Draft:
    """The answer in progress.

    Args:
        n: which turn the prompt will be.
        prompt: what is being answered.
        stream_id: the stream that writes the answer.
        seq: the number of the stream's last event that is included; follow on with ``after=seq``.
        content: the answer so far: text, or the last structured partial.
        thinking: the thinking so far.
    """

    n: int
    prompt: Prompt = field(repr=False)
    stream_id: str
    seq: int
    content: Any = field(repr=False)
    thinking: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConversationSnapshot:
    """A conversation at one moment.

    Args:
        id: the conversation's id.
        seq: the number of the last event that is included; follow on with ``after=seq``.
        context: its turns.
        draft: the answer in progress, or ``None``.
        waiting: how many prompts wait for their turn.
        open: whether it takes prompts.
    """

    id: str
    seq: int
    context: Context
    draft: Draft | None
    waiting: int
    open: bool

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, ready for JSON; the context as its messages."""
        return {
            "id": self.id,
            "seq": self.seq,
            "messages": plain(self.context.to_messages()),
            "draft": plain(self.draft),
            "waiting": self.waiting,
            "open": self.open,
        }


class _ConversationEvent(Event[*Payload]):
    def to_dict(self, stream_id: str) -> dict[str, Any]:
        """Return the event ready for JSON: ``conversation``, ``seq``, ``type``, and its payload.

        Args:
            stream_id: the conversation's id.
        """
        head = {"conversation": stream_id, "seq": self.seq, "type": self.kind}
        return {**head, **self._body()}


def _made(cls: Any, items: tuple[Any, ...], **extras: Any) -> Any:
    event = _new(cls, items)
    event.__dict__.update(extras)
    return event


class SnapshotEvent(_ConversationEvent[Literal["snapshot"], ConversationSnapshot]):
    """The conversation as it stands."""

    __match_args__ = ("snapshot",)

    def __new__(cls, snapshot: ConversationSnapshot, *, seq: int = 0) -> Self:
        """Make the event ``("snapshot", snapshot)``."""
        made: Self = _made(cls, ("snapshot", snapshot), seq=seq)
        return made

    @property
    def snapshot(self) -> ConversationSnapshot:
        """The turns, and the draft."""
        return self[1]

    def _body(self) -> dict[str, Any]:
        return {"snapshot": self.snapshot.to_dict()}

    def _brief(self) -> str:
        return repr(self.snapshot.context)


class AnsweringEvent(_ConversationEvent[Literal["answering"], int, Prompt, str]):
    """An answer is being written."""

    __match_args__ = ("n", "prompt", "stream_id")

    def __new__(cls, n: int, prompt: Prompt, stream_id: str, *, seq: int = 0) -> Self:
        """Make the event ``("answering", n, prompt, stream_id)``."""
        made: Self = _made(cls, ("answering", n, prompt, stream_id), seq=seq)
        return made

    @property
    def n(self) -> int:
        """Which turn the prompt will be."""
        return self[1]

    @property
    def prompt(self) -> Prompt:
        """What is being answered."""
        return self[2]

    @property
    def stream_id(self) -> str:
        """The stream that writes the answer; follow it for the text."""
        return self[3]

    def _body(self) -> dict[str, Any]:
        return {"n": self.n, "prompt": plain(self.prompt), "stream": self.stream_id}

    def _brief(self) -> str:
        return f"{self.n} by {self.stream_id!r}"


class TurnEvent(_ConversationEvent[Literal["turn"], int, str, Any]):
    """A turn was added.

    Attributes:
        message: the turn as providers spell it, with its tool calls, if it has any.
    """

    __match_args__ = ("n", "role", "content")
    message: Mapping[str, Any]

    def __new__(cls, n: int, message: Mapping[str, Any], *, seq: int = 0) -> Self:
        """Make the event ``("turn", n, role, content)`` of ``message``."""
        items = ("turn", n, message["role"], message.get("content"))
        made: Self = _made(cls, items, seq=seq, message=message)
        return made

    @property
    def n(self) -> int:
        """Which turn it is, counted from 0."""
        return self[1]

    @property
    def role(self) -> str:
        """Whose turn it was: ``"user"``, ``"assistant"``, …."""
        return self[2]

    @property
    def content(self) -> Any:
        """What was said: text, a list of content parts, or ``None``."""
        return self[3]

    def _body(self) -> dict[str, Any]:
        return {"n": self.n, "message": plain(dict(self.message))}

    def _brief(self) -> str:
        return f"{self.n} {self.role} {reprlib.repr(self.content)}"

    def __reduce__(self) -> tuple[Any, ...]:
        # A message may be a mapping proxy, which cannot be pickled.
        return (_turn, (self.n, dict(self.message), self.seq))


class CutEvent(_ConversationEvent[Literal["cut"], int]):
    """The turns from ``n`` on are void; others take their place."""

    __match_args__ = ("n",)

    def __new__(cls, n: int, *, seq: int = 0) -> Self:
        """Make the event ``("cut", n)``."""
        made: Self = _made(cls, ("cut", n), seq=seq)
        return made

    @property
    def n(self) -> int:
        """How many turns are left."""
        return self[1]

    def _body(self) -> dict[str, Any]:
        return {"n": self.n}


class StoppedEvent(_ConversationEvent[Literal["stopped"], int, CancelReason, Any]):
    """The answer in progress was cancelled."""

    __match_args__ = ("n", "reason", "content")

    def __new__(cls, n: int, reason: CancelReason, content: Any, *, seq: int = 0) -> Self:
        """Make the event ``("stopped", n, reason, content)``."""
        made: Self = _made(cls, ("stopped", n, reason, content), seq=seq)
        return made

    @property
    def n(self) -> int:
        """Which turn the prompt would have been, or is, if what was written is kept."""
        return self[1]

    @property
    def reason(self) -> CancelReason:
        """Why: see `CancelledEvent.reason`."""
        return self[2]

    @property
    def content(self) -> Any:
        """What had been written."""
        return self[3]

    def _body(self) -> dict[str, Any]:
        return {"n": self.n, "reason": self.reason, "content": plain(self.content)}

    def _brief(self) -> str:
        return f"{self.n}, {self.reason} after {reprlib.repr(self.content)}"


class FailedEvent(_ConversationEvent[Literal["failed"], int, StreamError, Any]):
    """The answer in progress failed; the turns are what they were."""

    __match_args__ = ("n", "reason", "content")

    def __new__(cls, n: int, reason: StreamError, content: Any, *, seq: int = 0) -> Self:
        """Make the event ``("failed", n, reason, content)``."""
        made: Self = _made(cls, ("failed", n, reason, content), seq=seq)
        return made

    @property
    def n(self) -> int:
        """Which turn the prompt would have been."""
        return self[1]

    @property
    def reason(self) -> StreamError:
        """What went wrong."""
        return self[2]

    @property
    def content(self) -> Any:
        """What had been written."""
        return self[3]

    def _body(self) -> dict[str, Any]:
        reason = error_to_dict(self.reason)
        return {"n": self.n, "reason": reason, "content": plain(self.content)}

    def _brief(self) -> str:
        return f"{self.n}, {self.reason} after {reprlib.repr(self.content)}"

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception with keyword-only arguments cannot be pickled.
        return (_failed, (self.n, error_to_dict(self.reason), self.content, self.seq))


class ClosedEvent(_ConversationEvent[Literal["closed"]]):
    """The conversation has ended."""

    terminal = True

    def __new__(cls, *, seq: int = 0) -> Self:
        """Make the event ``("closed",)``."""
        made: Self = _made(cls, ("closed",), seq=seq)
        return made


ConversationEvent: TypeAlias = (
    SnapshotEvent | AnsweringEvent | TurnEvent | CutEvent | StoppedEvent | FailedEvent | ClosedEvent
)
"""Any event of a conversation, for type checkers to look into."""


def _turn(n: int, message: dict[str, Any], seq: int) -> TurnEvent:
    return TurnEvent(n, message, seq=seq)


def _failed(n: int, reason: dict[str, Any], content: Any, seq: int) -> FailedEvent:
    return FailedEvent(n, StreamError(**reason), content, seq=seq)
