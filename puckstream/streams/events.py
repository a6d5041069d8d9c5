"""What a stream tells its subscribers.

An event is a real tuple ``(kind, *payload)``, so that it can be matched as it stands::

    match message:
        case ("puck_stream", id, ("content", chunk)) if id == self.stream_id: ...
        case ("puck_stream", id, ("done", response, context)): ...
        case ("puck_stream", id, ("error", reason)): ...
        case ("puck_stream", id, ("cancelled", content)): ...

and carries ``seq`` and the extras of its kind as read-only attributes beside the payload:

============= =================== ==================== ===========================
kind          class               payload              extras
============= =================== ==================== ===========================
``started``   `StartedEvent`      info
``content``   `ContentEvent`      chunk
``thinking``  `ThinkingEvent`     chunk
``tool_use``  `ToolUseEvent`      chunk
any other     `OtherChunkEvent`   chunk
``retrying``  `RetryingEvent`     info
``skipped``   `SkippedEvent`      response
``done``      `DoneEvent`         response, context
``error``     `ErrorEvent`        reason               ``content``, ``usage``
``cancelled`` `CancelledEvent`    content              ``reason``, ``by``, ``usage``
============= =================== ==================== ===========================

Events compare and hash as the tuples they are: ``seq`` and the extras do not count. The last
three kinds are terminal: exactly one of them ends every stream.

An event may stand for several, ``first_seq`` to ``seq``: deltas that were joined for somebody who
lagged, or what the log no longer has.
"""

from __future__ import annotations

import reprlib
from typing import (
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    NoReturn,
    Self,
    TypeAlias,
    TypeVar,
    TypeVarTuple,
    cast,
)

from puckstream.backends.base import Chunk, Usage
from puckstream.errors import StreamError
from puckstream.streams.context import Context
from puckstream.streams.plain import plain
from puckstream.streams.response import Response

__all__ = [
    "CancelReason",
    "CancelledEvent",
    "ChunkEvent",
    "ContentEvent",
    "DoneEvent",
    "ErrorEvent",
    "Event",
    "OtherChunkEvent",
    "RetryInfo",
    "RetryingEvent",
    "SkippedEvent",
    "StartInfo",
    "StartedEvent",
    "StreamEvent",
    "ThinkingEvent",
    "ToolUseEvent",
    "chunk_event",
    "error_to_dict",
    "stream_message",
]

CancelReason = Literal[
    "user",
    "timeout_first",
    "timeout_idle",
    "timeout_total",
    "shutdown",
    "replaced",
    "abandoned",
]
"""Why a stream was cancelled, as ``CancelledEvent.reason``."""

Payload = TypeVarTuple("Payload")
E = TypeVar("E", bound="Event[*tuple[Any, ...]]")

_new: Any = tuple.__new__  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
_OWN_KINDS = frozenset({"started", "retrying", "skipped", "done", "error", "cancelled"})


class StartInfo(NamedTuple):
    """What a stream that starts says about itself; never the prompt.

    Args:
        model: the model's name as the provider spells it; ``None`` for a function.
        provider: the provider's name; ``None`` for a function.
        attempt: 1, or more after a retry.
    """

    model: str | None = None
    provider: str | None = None
    attempt: int = 1


class RetryInfo(NamedTuple):
    """What a stream that tries again says about it.

    Args:
        attempt: the number of the attempt to come; the first retry is attempt 2.
        delay: seconds until then.
        reason: what went wrong.
        reset: the text so far is void, and the answer starts anew.
        provider: who is asked next; ``None`` for a function.
        model: which of its models.
    """

    attempt: int
    delay: float
    reason: StreamError
    reset: bool = False
    provider: str | None = None
    model: str | None = None


class Event(tuple[*Payload]):  # noqa: SLOT001  # a tuple cannot have slots, and seq needs a place
    """One event of a stream: the tuple ``(kind, *payload)``, numbered. Cannot be changed.

    Attributes:
        seq: 1 for the first event of a stream, then 2, 3 … without gaps; 0 outside of a log.
        terminal: whether the stream ends with this event.
    """

    seq: int
    terminal: ClassVar[bool] = False

    @property
    def kind(self) -> str:
        """What happened: the first item of the tuple."""
        return str(self[0])  # type: ignore[misc]  # no event is empty

    @property
    def first_seq(self) -> int:
        """The number of the first event this one stands for; ``seq`` unless it is several."""
        first: int = self.__dict__.get("first_seq", self.seq)
        return first

    def to_dict(self, stream_id: str) -> dict[str, Any]:
        """Return the event ready for JSON: ``stream``, ``seq``, ``type``, and what its kind adds.

        One that stands for several adds ``first_seq``. A chunk adds ``content``, and ``metadata``
        if it has any; every other kind its payload and extras by name. The context of ``done`` is
        left out: it repeats the whole conversation.
        """
        head: dict[str, Any] = {"stream": stream_id, "seq": self.seq, "type": self.kind}
        if self.first_seq != self.seq:
            head["first_seq"] = self.first_seq
        head.update(self._body())
        return head

    def in_log(self) -> str:
        """Return what logs may show of it: never the text."""
        return f"<{self.kind} #{self.seq}>"

    def _body(self) -> dict[str, Any]:
        return {}

    def _brief(self) -> str:
        return ", ".join(f"{name}={plain(value)!r}" for name, value in self._body().items())

    def __repr__(self) -> str:
        return f"<{self.kind} #{self.seq} {self._brief()}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restored, (type(self), (*self,), self.__dict__))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        msg = f"an event cannot be changed ({name})"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> NoReturn:
        msg = f"an event cannot be changed ({name})"
        raise AttributeError(msg)


class ChunkEvent(Event[str, Chunk]):
    """A chunk arrived; the kind is the chunk's own type."""

    __match_args__ = ("chunk",)

    @property
    def chunk(self) -> Chunk:
        """The chunk as the source made it."""
        return self[1]

    def _body(self) -> dict[str, Any]:
        body = {"content": plain(self.chunk.content)}
        if self.chunk.metadata:
            body["metadata"] = plain(self.chunk.metadata)
        return body

    def _brief(self) -> str:
        return reprlib.repr(self.chunk.content)

    def __reduce__(self) -> tuple[Any, ...]:
        # Metadata may be a mapping proxy, which cannot be pickled.
        chunk = self.chunk
        copy = Chunk(chunk.type, chunk.content, dict(chunk.metadata))
        return (_restored, (type(self), (self[0], copy), self.__dict__))


class ContentEvent(ChunkEvent):
    """Visible output: a text delta, or a structured partial."""


class ThinkingEvent(ChunkEvent):
    """A delta of the model's reasoning."""


class ToolUseEvent(ChunkEvent):
    """A delta of a tool call."""


class OtherChunkEvent(ChunkEvent):
    """A chunk of any other type, under its own tag; ``unknown`` if it has none."""


class StartedEvent(Event[Literal["started"], StartInfo]):
    """The source has been started."""

    __match_args__ = ("info",)

    def __new__(cls, info: StartInfo, *, seq: int = 0) -> Self:
        """Make the event ``("started", info)``."""
        return _restored(cls, ("started", info), {"seq": seq})

    @property
    def info(self) -> StartInfo:
        """The model, its provider and the number of the attempt."""
        return self[1]

    def _body(self) -> dict[str, Any]:
        return self.info._asdict()


class RetryingEvent(Event[Literal["retrying"], RetryInfo]):
    """The attempt failed and another will be made."""

    __match_args__ = ("info",)

    def __new__(cls, info: RetryInfo, *, seq: int = 0) -> Self:
        """Make the event ``("retrying", info)``."""
        return _restored(cls, ("retrying", info), {"seq": seq})

    @property
    def info(self) -> RetryInfo:
        """Which attempt follows, when, with whom, and whether the text so far is void."""
        return self[1]

    def _body(self) -> dict[str, Any]:
        return {**self.info._asdict(), "reason": error_to_dict(self.info.reason)}

    def __reduce__(self) -> tuple[Any, ...]:
        # By its fields: an exception with keyword-only arguments cannot be pickled.
        info = self.info._asdict()
        reason = error_to_dict(info.pop("reason"))
        return (_retrying, (info, reason, self.seq))


class SkippedEvent(Event[Literal["skipped"], Response]):
    """Events ``first_seq`` to ``seq`` are no longer in the log; this is what they amount to.

    Whoever puts the answer together from deltas replaces what he has by that of ``response``.

    Attributes:
        reset: whether one of them made the text before it void.
    """

    __match_args__ = ("response",)
    reset: bool

    def __new__(
        cls, response: Response, *, first_seq: int = 0, seq: int = 0, reset: bool = False
    ) -> Self:
        """Make the event ``("skipped", response)``."""
        extras = {"seq": seq, "first_seq": first_seq, "reset": reset}
        return _restored(cls, ("skipped", response), extras)

    @property
    def response(self) -> Response:
        """The answer as it stands at ``seq``."""
        return self[1]

    def _body(self) -> dict[str, Any]:
        return self.response.to_dict()

    def _brief(self) -> str:
        return reprlib.repr(self.response.content)


class DoneEvent(Event[Literal["done"], Response, Context]):
    """The stream ended as it should."""

    __match_args__ = ("response", "context")
    terminal = True

    def __new__(cls, response: Response, context: Context, *, seq: int = 0) -> Self:
        """Make the event ``("done", response, context)``."""
        return _restored(cls, ("done", response, context), {"seq": seq})

    @property
    def response(self) -> Response:
        """The complete answer."""
        return self[1]

    @property
    def context(self) -> Context:
        """The conversation, with the user's turn and the answer appended."""
        return self[2]

    def _body(self) -> dict[str, Any]:
        return self.response.to_dict()

    def _brief(self) -> str:
        return f"{reprlib.repr(self.response.content)} {self.context!r}"


class ErrorEvent(Event[Literal["error"], StreamError]):
    """The stream failed.

    Attributes:
        content: what had arrived: the text, or the last structured partial.
        usage: the token counts so far, where anything is known or can be estimated.
    """

    __match_args__ = ("reason",)
    terminal = True
    content: Any
    usage: Usage | None

    def __new__(
        cls, reason: StreamError, *, content: Any = "", usage: Usage | None = None, seq: int = 0
    ) -> Self:
        """Make the event ``("error", reason)``."""
        return _restored(cls, ("error", reason), {"seq": seq, "content": content, "usage": usage})

    @property
    def reason(self) -> StreamError:
        """What went wrong."""
        return self[1]

    def _body(self) -> dict[str, Any]:
        return {
            "reason": error_to_dict(self.reason),
            "content": plain(self.content),
            "usage": plain(self.usage),
        }

    def _brief(self) -> str:
        return f"{self.reason} after {reprlib.repr(self.content)}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_error, (error_to_dict(self.reason), self.__dict__))


class CancelledEvent(Event[Literal["cancelled"], Any]):
    """The stream was stopped before its end.

    Attributes:
        reason: why.
        by: who asked for it, or ``None``: an actor's ref, a name, a node.
        usage: the token counts so far, where anything is known or can be estimated.
    """

    __match_args__ = ("content",)
    terminal = True
    reason: CancelReason
    by: Any
    usage: Usage | None

    def __new__(
        cls,
        content: Any = "",
        *,
        reason: CancelReason = "user",
        by: Any = None,
        usage: Usage | None = None,
        seq: int = 0,
    ) -> Self:
        """Make the event ``("cancelled", content)``."""
        extras = {"seq": seq, "reason": reason, "by": by, "usage": usage}
        return _restored(cls, ("cancelled", content), extras)

    @property
    def content(self) -> Any:
        """What had arrived: the text, or the last structured partial."""
        return self[1]

    def _body(self) -> dict[str, Any]:
        return {
            "content": plain(self.content),
            "reason": self.reason,
            "by": None if self.by is None else str(self.by),
            "usage": plain(self.usage),
        }

    def _brief(self) -> str:
        return f"{self.reason} after {reprlib.repr(self.content)}"


StreamEvent: TypeAlias = (
    ContentEvent
    | ThinkingEvent
    | ToolUseEvent
    | OtherChunkEvent
    | StartedEvent
    | RetryingEvent
    | SkippedEvent
    | DoneEvent
    | ErrorEvent
    | CancelledEvent
)
"""Any event of a stream, for type checkers to look into."""


def chunk_event(chunk: Chunk, seq: int = 0) -> StreamEvent:
    """Return the event of ``chunk``, under the chunk's own type; ``unknown`` if it has none.

    Raises:
        StreamError: of kind ``protocol``, if the chunk's type is the name of an event that is not
            a chunk: a source cannot end its stream by a chunk of type ``"done"``.
    """
    type_ = cast("object", chunk[0])  # a user's function may have put anything there
    cls: type[ContentEvent | ThinkingEvent | ToolUseEvent | OtherChunkEvent]
    if type_ == "content":
        cls = ContentEvent
    elif type_ == "thinking":
        cls = ThinkingEvent
    elif type_ == "tool_use":
        cls = ToolUseEvent
    else:
        cls = OtherChunkEvent
        if not isinstance(type_, str) or not type_:
            type_ = "unknown"
        elif type_ in _OWN_KINDS:
            msg = f"a chunk cannot be of type {type_!r}, which is an event of the stream itself"
            raise StreamError(kind="protocol", message=msg)
    # Thousands are made a second: this is _restored() without its call and its loop.
    event: StreamEvent = _new(cls, (type_, chunk))
    event.__dict__["seq"] = seq
    return event


def stream_message(stream_id: str, event: E) -> tuple[Literal["puck_stream"], str, E]:
    """Return the message subscriber actors receive: ``("puck_stream", stream_id, event)``."""
    return ("puck_stream", stream_id, event)


def error_to_dict(error: StreamError) -> dict[str, Any]:
    """Return the fields of ``error``, ready for JSON."""
    return {
        "kind": error.kind,
        "message": error.message,
        "status": error.status,
        "retryable": error.retryable,
        "retry_after": error.retry_after,
        "provider": error.provider,
    }


def _restored(cls: type[E], items: tuple[Any, ...], extras: dict[str, Any]) -> E:
    event: E = _new(cls, items)
    event.__dict__.update(extras)
    return event


def _error(reason: dict[str, Any], extras: dict[str, Any]) -> ErrorEvent:
    return _restored(ErrorEvent, ("error", StreamError(**reason)), extras)


def _retrying(info: dict[str, Any], reason: dict[str, Any], seq: int) -> RetryingEvent:
    return RetryingEvent(RetryInfo(**info, reason=StreamError(**reason)), seq=seq)
