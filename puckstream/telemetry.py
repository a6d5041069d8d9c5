"""What the streams of a node do, told to whoever measures it.

A node has a `Telemetry`; ``node.telemetry.attach(handler)`` has ``handler(record)`` called with
one of the frozen records below whenever something happens to a stream:

================== ===============================================================================
record             when
================== ===============================================================================
`StreamStarted`    the stream was accepted; its actor may still wait for a place
`FirstChunk`       the first chunk of any kind arrived, once per stream
`ChunkArrived`     any chunk behind the first; only told with ``attach(…, chunks=True)``
`Retrying`         an attempt failed and another will be made
`HandlerFailed`    a method of the stream's `Handler` raised, or took too long
`StreamStopped`    the end: the answer is complete
`StreamFailed`     the end: with an error
`StreamCancelled`  the end: cancelled, for whatever reason
================== ===============================================================================

A handler sees both ends of a stream or neither: it is told of the streams that start while it is
attached. Of each it gets exactly one `StreamStarted`, first, and exactly one end, last: also when
the stream's actor is killed, when its supervisor dies, and when the node shuts down. Only a failure
of the stream's `Handler` may still be told behind the end. All times are seconds of the node's
clock.
"""

from __future__ import annotations

import contextvars
import inspect
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from puckstream.errors import InvalidOption, StreamError

if TYPE_CHECKING:
    from puckstream.backends.base import Usage
    from puckstream.streams.context import Context
    from puckstream.streams.events import CancelReason
    from puckstream.streams.response import Response

__all__ = [
    "CONVERSATION",
    "Attachment",
    "ChunkArrived",
    "FirstChunk",
    "HandlerFailed",
    "Record",
    "Retrying",
    "StreamCancelled",
    "StreamEnded",
    "StreamFailed",
    "StreamMoment",
    "StreamStarted",
    "StreamStopped",
    "Telemetry",
    "TelemetryHandler",
]

logger = logging.getLogger("puckstream.telemetry")

_PLAIN: Final = "a plain function that takes one record, no coroutine"

CONVERSATION: contextvars.ContextVar[str | None] = contextvars.ContextVar(
    "puckstream.conversation", default=None
)
"""The id of the conversation that streams started in this context belong to; a `Conversation`
sets it for its own."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StreamMoment:
    """What every record says.

    Args:
        stream_id: the stream's id.
        run: which run of this node's it is; an id may be run again, a run never.
        at: when it happened, in seconds of the node's clock.
    """

    stream_id: str
    run: int
    at: float

    def __repr__(self) -> str:
        shown = [
            f"{one.name}={_shown(getattr(self, one.name))}" for one in fields(self) if one.repr
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StreamStarted(StreamMoment):
    """A stream was accepted.

    Args:
        provider: the provider's name; ``None`` for a function.
        model: the model asked for; ``None`` for a function, or where the provider chooses.
        base_url: where the provider is, as far as its backend says.
        parent: the run of the stream whose function started this one, if one did.
        conversation: the conversation it belongs to, if any.
        context: the conversation up to and with the user's turn; it holds what users wrote.
    """

    provider: str | None
    model: str | None
    base_url: str | None
    parent: int | None
    conversation: str | None
    context: Context = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FirstChunk(StreamMoment):
    """The first chunk arrived, ``seconds`` after the start, in attempt number ``attempt``."""

    seconds: float
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ChunkArrived(StreamMoment):
    """Another chunk arrived, ``seconds`` after the one before it."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Retrying(StreamMoment):
    """An attempt failed and another will be made.

    Args:
        attempt: the number of the attempt to come; the first retry is attempt 2.
        delay: seconds until then.
        error: what went wrong.
        reset: whether the text so far is void.
        provider: who is asked next.
        model: the model asked for next.
        base_url: where that provider is, as far as its backend says.
    """

    attempt: int
    delay: float
    error: StreamError
    reset: bool
    provider: str | None
    model: str | None
    base_url: str | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HandlerFailed(StreamMoment):
    """A method of the stream's `Handler` raised ``error``, or did not return in time."""

    method: str
    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StreamEnded(StreamMoment):
    """What every end of a stream says.

    Args:
        duration: seconds from the start to the end, retries and waiting for a place included.
        time_to_first_chunk: seconds from the start to the first chunk; ``None`` if none came.
        chunks: how many chunks arrived, in all attempts.
        attempt: the number of the last attempt that was begun or announced.
        provider: who was asked last; ``None`` for a function.
        model: the model asked for last.
        response_model: the model that answered, as the provider spells it, once it has said so.
        usage: the token counts; ``usage.estimated`` says whether they were counted here.
    """

    duration: float
    time_to_first_chunk: float | None
    chunks: int
    attempt: int
    provider: str | None
    model: str | None
    response_model: str | None
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StreamStopped(StreamEnded):
    """The answer is complete; ``response`` is that answer."""

    response: Response = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StreamFailed(StreamEnded):
    """The stream failed with ``error``; ``content`` is what had arrived."""

    error: StreamError
    content: Any = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StreamCancelled(StreamEnded):
    """The stream was cancelled for ``reason`` by ``by``; ``content`` is what had arrived."""

    reason: CancelReason
    by: Any
    content: Any = field(repr=False)


Record: TypeAlias = (
    StreamStarted
    | FirstChunk
    | ChunkArrived
    | Retrying
    | HandlerFailed
    | StreamStopped
    | StreamFailed
    | StreamCancelled
)
"""Any record, for type checkers to look into."""

TelemetryHandler: TypeAlias = Callable[[Record], object]
"""Takes one record. A plain function, called on the node's loop: it must not block."""


class Attachment:
    """A handler, as long as it is attached.

    Args:
        handler: what is called.
        chunks: whether it wants `ChunkArrived` too.
    """

    __slots__ = ("_handler", "attached", "chunks", "failures")

    def __init__(self, handler: TelemetryHandler, *, chunks: bool) -> None:
        self._handler = handler
        self.chunks = chunks
        self.attached = True
        self.failures = 0

    def tell(self, record: Record) -> None:
        """Call the handler, if it is attached; what it raises is reported the first time."""
        if not self.attached:
            return
        try:
            result = self._handler(record)
            if inspect.iscoroutine(result):
                result.close()
                self._report(InvalidOption("handler", self._handler, _PLAIN), record)
        except BaseException as error:  # noqa: BLE001  # its SystemExit is its own affair
            self._report(error, record)

    def _report(self, error: BaseException, record: Record) -> None:
        self.failures += 1
        if self.failures == 1:
            logger.error(
                "the telemetry handler %r failed at a %s; it stays attached, and its further "
                "failures are not reported",
                self._handler,
                type(record).__name__,
                exc_info=error,
            )


class Telemetry:
    """The handlers of one node. `attach` and what it returns can be called from any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._attachments: tuple[Attachment, ...] = ()

    def __repr__(self) -> str:
        return f"<Telemetry: {len(self._attachments)} handlers>"

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The handlers attached now, in the order in which they were."""
        return self._attachments

    def attach(self, handler: TelemetryHandler, *, chunks: bool = False) -> Callable[[], None]:
        """Have ``handler`` told of every stream that starts from now on.

        It is called on the node's loop, at the moment of what it is told of, and must not block.
        `StreamStarted` is told in a copy of the context of whoever started the stream, so that
        context variables of that code can be read there. A handler that raises disturbs neither
        the stream nor other handlers: it is reported once, in the log ``puckstream.telemetry``,
        and stays attached. Attached twice, it is called twice.

        Args:
            handler: called with each record.
            chunks: whether it is told of every single chunk, which costs a call for each.

        Returns:
            A function that detaches it: nothing is told to it afterwards. Idempotent.

        Raises:
            InvalidOption: if ``handler`` is no plain function.
        """
        given = cast("object", handler)
        if not callable(given):
            raise InvalidOption("handler", handler, _PLAIN)
        # The second is an object whose __call__ is a coroutine function.
        called = getattr(handler, "__call__", None)  # noqa: B004
        if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(called):
            raise InvalidOption("handler", handler, _PLAIN)
        if not isinstance(cast("object", chunks), bool):
            raise InvalidOption("chunks", chunks, "True or False")
        attachment = Attachment(handler, chunks=chunks)
        with self._guard:
            self._attachments = (*self._attachments, attachment)

        def detach() -> None:
            attachment.attached = False
            with self._guard:
                self._attachments = tuple(one for one in self._attachments if one is not attachment)

        return detach


def _shown(value: object) -> str:
    """Return ``value`` as a record shows it: an error without its message, which may quote."""
    if isinstance(value, StreamError):
        return f"<{type(value).__qualname__} {value.kind}>"
    return f"<{type(value).__qualname__}>" if isinstance(value, BaseException) else repr(value)
