"""``<think>…</think>`` at the beginning of a text, as thinking.

Some servers leave a model's reasoning in its text, between the tags of the model's own template.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from puckstream.backends.base import Chunk
from puckstream.backends.decoder import Decoder

__all__ = ["ThinkTags"]

_OPEN, _CLOSE = "<think>", "</think>"


class ThinkTags:
    """A decoder whose text between the tags becomes ``thinking`` chunks.

    Only the first thing the model says is looked at: tags in the middle of an answer are text.
    The tags and the blanks outside of them are dropped. What may be a part of a tag is kept back
    until the next delta decides.

    Args:
        decoder: decodes the answer.
    """

    __slots__ = ("_decoder", "_held", "_state")

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._state = "before"  # then perhaps "inside", "after", and at last "text"
        self._held = ""

    @property
    def done(self) -> bool:
        """Whether the answer is complete."""
        return self._decoder.done

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """Yield the chunks that ``data`` completes, in order; see `Decoder.feed`."""
        return self._sorted(self._decoder.feed(data))

    def end(self) -> Iterator[Chunk]:
        """Yield what the end of the body completes, and ``finish``; see `Decoder.end`."""
        return self._sorted(self._decoder.end())

    def _sorted(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            if chunk.type != "content":
                if chunk.type not in ("thinking", "raw"):
                    yield from self._released()
                yield chunk
            elif self._state == "text":
                yield chunk
            else:
                yield from self._read(chunk)

    def _read(self, chunk: Chunk) -> Iterator[Chunk]:
        text = self._held + chunk.content
        self._held = ""
        if self._state == "before":
            said = text.lstrip()
            if said.startswith(_OPEN):
                self._state, text = "inside", said[len(_OPEN) :]
            elif _OPEN.startswith(said):
                self._held = text
                return
            else:
                self._state = "text"
        if self._state == "inside":
            thinking, close, rest = text.partition(_CLOSE)
            if close:
                self._state, text = "after", rest
            else:
                kept = _beginning_of_close(thinking)
                self._held, text = thinking[len(thinking) - kept :], ""
                thinking = thinking[: len(thinking) - kept]
            if thinking:
                yield Chunk("thinking", thinking, chunk.metadata)
        if self._state == "after":
            text = text.lstrip()
            if text:
                self._state = "text"
        if text:
            yield Chunk("content", text, chunk.metadata)

    def _released(self) -> Iterator[Chunk]:
        """Yield what was kept back: no more of it will come."""
        held, self._held = self._held, ""
        if held:
            yield Chunk("thinking" if self._state == "inside" else "content", held)
        self._state = "text"


def _beginning_of_close(text: str) -> int:
    """Return how many characters at the end of ``text`` may be the beginning of the tag."""
    for length in range(min(len(text), len(_CLOSE) - 1), 0, -1):
        if _CLOSE.startswith(text[-length:]):
            return length
    return 0
