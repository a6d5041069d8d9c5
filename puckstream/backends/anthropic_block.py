"""One content block of an Anthropic answer while it arrives, and how it is sent back.

Reference: Anthropic API, "Extended thinking": thinking blocks must come back as they were sent,
with their signature, before the tool results they led to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["Block", "replayed"]

_SAID_OTHERWISE = ("text", "tool_use")
"""What the messages of a context hold anyway."""


class Block:
    """A content block.

    Args:
        start: the block as ``content_block_start`` sent it.
    """

    __slots__ = ("json", "lost", "number", "others", "signature", "start", "text")

    def __init__(self, start: Mapping[str, Any]) -> None:
        self.start = start
        self.text: list[str] = []
        self.json: list[str] = []
        self.signature = ""
        self.others: dict[str, list[Any]] = {}
        self.number = 0
        """Which of the answer's tool calls it is."""
        self.lost = False
        """Whether deltas of an unknown kind came, so that the block cannot be put together."""

    @property
    def type(self) -> str:
        """The block's type."""
        return str(self.start.get("type"))

    def call(self, arguments: str) -> dict[str, Any]:
        """Return the metadata of a ``tool_use`` chunk that adds ``arguments``."""
        return {
            "index": self.number,
            "id": self.start.get("id"),
            "name": self.start.get("name"),
            "arguments": arguments,
        }

    def add_other(self, delta: object) -> None:
        """Keep a delta of another kind: citations, which go with their text."""
        if isinstance(delta, dict) and "citation" in delta:
            self.others.setdefault("citations", []).append(delta["citation"])
        else:
            self.lost = True

    def whole_input(self) -> str | None:
        """Return the input that came with the block's start, if no other has."""
        given = self.start.get("input")
        return msgspec.json.encode(given).decode() if given and not any(self.json) else None

    def as_sent(self) -> dict[str, Any] | None:
        """Return the block as the API takes it back; ``None`` if there is nothing to send.

        Raises:
            ValueError: if parts of it are unknown.
            msgspec.DecodeError: if the input of its tool was cut short.
        """
        if self.lost:
            msg = "the block has parts of an unknown kind"
            raise ValueError(msg)
        block = dict(self.start)
        if self.type == "text":
            block["text"] = "".join(self.text)
            return {**block, **self.others} if block["text"] else None
        if self.type == "thinking":
            # What is not signed came from another server than Anthropic's, and it wants none.
            signed = {"thinking": "".join(self.text), "signature": self.signature}
            return {**block, **signed} if self.signature else None
        if any(self.json):
            block["input"] = msgspec.json.decode("".join(self.json))
        return block


def replayed(blocks: Mapping[int, Block]) -> list[dict[str, Any]] | None:
    """Return the blocks of a turn as it must be sent back, in order.

    ``None`` if text and tool calls are all there is to send, or if a block is not complete.
    """
    try:
        sent = [block.as_sent() for _, block in sorted(blocks.items())]
    except (ValueError, msgspec.DecodeError):
        return None
    turn = [block for block in sent if block is not None]
    plain = all(block.get("type") in _SAID_OTHERWISE for block in turn)
    return None if plain else turn
