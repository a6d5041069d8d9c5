"""Which chunks may be joined, and how.

Only deltas of text: ``content`` and ``thinking`` without metadata, and the arguments of one tool
call. The joined chunk says everything the single ones said, so that whoever puts the answer
together from either gets the same. A chunk of any other type may mean anything, and stays alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final, TypeAlias, cast

from puckstream.backends.base import Chunk

__all__ = ["Seam", "join", "piece", "seam"]

Seam: TypeAlias = tuple[Hashable, ...]
"""What adjacent chunks must have in common to be joined."""

_CONTENT: Final[Seam] = ("content",)
_THINKING: Final[Seam] = ("thinking",)
_OF_A_CALL: Final = frozenset({"index", "id", "name", "arguments"})


def seam(entry: object) -> Seam | None:
    """Return what ``entry`` must have in common with its neighbour; ``None`` if it stays alone."""
    if type(entry) is not Chunk:
        return None
    type_, content, metadata = entry
    if type(content) is not str:
        return None
    if not metadata:
        if type_ == "content":
            return _CONTENT
        return _THINKING if type_ == "thinking" else None
    if type_ != "tool_use" or type(metadata) is not dict or not metadata.keys() <= _OF_A_CALL:
        return None
    known = cast("dict[str, Any]", metadata)
    if known.get("arguments", content) != content:
        return None
    call = ("tool_use", "arguments" in known, known.get("index"), known.get("id"))
    found = (*call, known.get("name"))
    return found if all(type(part) in _PLAIN for part in found) else None


_PLAIN: Final = frozenset({str, int, bool, type(None)})


def piece(like: Chunk, text: str) -> Chunk:
    """Return a chunk of the same seam as ``like`` that holds ``text``."""
    metadata = like.metadata
    if "arguments" in metadata:
        metadata = {**metadata, "arguments": text}
    return Chunk(like.type, text, metadata)


def join(chunks: Sequence[Chunk]) -> Chunk:
    """Return ``chunks``, which have one seam, as one."""
    if len(chunks) == 1:
        return chunks[0]
    return piece(chunks[0], "".join([chunk.content for chunk in chunks]))
