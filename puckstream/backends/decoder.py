"""What turns the bytes of one answer into chunks: the part of a provider that does no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from puckstream.backends.base import Chunk
from puckstream.errors import StreamError

__all__ = ["Decoder", "EventDecoder", "Framed", "Framing"]

E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)
E_contra = TypeVar("E_contra", contravariant=True)


class Decoder(Protocol):
    """Decodes one answer. The chunks are the same, however its bytes are cut."""

    @property
    def done(self) -> bool:
        """Whether the answer is complete, so that whatever follows is to be ignored."""
        ...

    def feed(self, data: bytes) -> Iterable[Chunk]:
        """Return the chunks that ``data`` completes, in order.

        Raises (while iterating, after the chunks that came before):
            StreamError: if the answer holds an error, or cannot be read (kind ``parse``).
        """
        ...

    def end(self) -> Iterable[Chunk]:
        """Return what the end of the body completes; a ``finish`` chunk is the last.

        Raises (while iterating):
            StreamError: of kind ``connection``, if the answer is not complete.
        """
        ...


class Framing(Protocol[E_co]):
    """Splits bytes into events: server-sent events, or lines."""

    def feed(self, data: bytes) -> Iterable[E_co]:
        """Return the events that ``data`` completes, in order."""
        ...

    def flush(self) -> Iterable[E_co]:
        """Return the event that the end of the body completes, if there is one."""
        ...


class EventDecoder(Protocol[E_contra]):
    """Turns the events of one answer into chunks; see `Decoder` for what it raises."""

    @property
    def done(self) -> bool:
        """Whether the answer is complete."""
        ...

    def decode(self, event: E_contra, /) -> Iterable[Chunk]:
        """Return the chunks that ``event`` holds, in order."""
        ...

    def finish(self) -> Chunk:
        """Return the ``finish`` chunk, or raise if the answer is not complete."""
        ...


class Framed(Generic[E]):
    """A `Decoder` of two parts: bytes into events, events into chunks.

    Args:
        framing: splits the bytes, e.g. an `SseDecoder`.
        events: reads the events.
    """

    __slots__ = ("_events", "_framing")

    def __init__(self, framing: Framing[E], events: EventDecoder[E]) -> None:
        self._framing = framing
        self._events = events

    @property
    def done(self) -> bool:
        """Whether the answer is complete."""
        return self._events.done

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """Yield the chunks that ``data`` completes, in order; see `Decoder.feed`."""
        return self._decoded(self._framing.feed(data))

    def end(self) -> Iterator[Chunk]:
        """Yield what the end of the body completes, and ``finish``; see `Decoder.end`."""
        try:
            yield from self._decoded(self._framing.flush())
        except StreamError as error:
            if error.kind != "parse":
                raise
            # The end of the body cut an event in two: what ``finish`` says of that is true.
        yield self._events.finish()

    def _decoded(self, found: Iterable[E]) -> Iterator[Chunk]:
        events = self._events
        for event in found:
            if events.done:
                return
            yield from events.decode(event)
