"""The seam below which frames become somebody else's bytes: what a transport has to offer.

A transport moves frames over one-way *channels*. The node that opens a channel gives it a name,
which is all the receiver learns of it; a node answers over a channel of its own. Nothing here
promises that a frame arrives: frames of one channel arrive in order or not at all, and the link
protocol above notices what is missing (docs/nodes.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Protocol

__all__ = ["Sent", "Sink", "Transport"]


class Sent(Enum):
    """What became of a frame that was to be sent."""

    QUEUED = "queued"
    """It is on its way, and out of the sender's hands."""
    BUSY = "busy"
    """It was not taken: the other end reads too slowly. `Sink.drained` says when to go on."""


class Sink(Protocol):
    """What a transport reports to; always on the loop's thread."""

    def frame(self, channel: bytes, data: bytes) -> None:
        """Take a frame that came over the channel its opener has named ``channel``."""
        ...

    def drained(self, channel: bytes) -> None:
        """Go on sending: a channel of this node that was busy takes frames again."""
        ...

    def lost(self, channel: bytes) -> None:
        """Note that the other end of a channel of this node is gone."""
        ...

    def found(self, addresses: Iterable[str]) -> None:
        """Note where nodes may be reached; those of this node itself may be among them."""
        ...


class Transport(Protocol):
    """Moves frames between nodes. Used on the loop's thread only."""

    async def open(self, sink: Sink) -> tuple[str, ...]:
        """Begin to receive.

        Returns:
            The addresses at which other nodes reach this one.

        Raises:
            OSError: if an address cannot be had.
        """
        ...

    def dial(self, address: str, channel: bytes) -> None:
        """Open a channel to whoever is at ``address``; returns at once.

        An address that nobody has, or that means nothing here, is silent.

        Args:
            channel: its name, of at most 64 bytes; never used before, by anybody.
        """
        ...

    def send(self, channel: bytes, data: bytes) -> Sent:
        """Send a frame over a channel of this node; never blocks.

        A channel that was hung up takes frames and loses them.
        """
        ...

    def hang_up(self, channel: bytes, *, flush: bool) -> None:
        """Close a channel of this node; unknown ones are none.

        Args:
            flush: whether frames it has taken may still be delivered; else they are lost.
        """
        ...

    async def close(self) -> None:
        """Stop receiving, hang up everything, and let go of every address. Idempotent."""
        ...
