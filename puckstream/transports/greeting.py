"""What a node says of itself when it greets another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from puckstream.errors import BadFrame
from puckstream.transports.codec import Codec
from puckstream.transports.frame import MAX_FRAME, VERSION

__all__ = ["Greeting", "NodeId"]

_INCARNATION = 12
_NAME = 200


@dataclass(frozen=True, slots=True, order=True)
class NodeId:
    """A node in one of its lives: a name, and what sets this life apart from all others.

    Args:
        name: unique in its cluster at any time.
        incarnation: 12 bytes, start time and chance; never used again (OTP's *creation*).
    """

    name: str
    incarnation: bytes

    def __str__(self) -> str:
        return f"{self.name}#{self.incarnation[-3:].hex()}"


@dataclass(frozen=True, slots=True)
class Greeting:
    """A node's introduction.

    Args:
        node: who it is.
        cluster: where it belongs; nodes of different clusters do not link.
        addresses: where it can be reached.
        oldest: the oldest version of the protocol it understands.
        newest: the newest.
        max_frame: the largest frame it takes, in bytes.
        schema: a digest of the application's types; differing ones are worth a warning.
        answering: the sender's name of the channel whose greeting this one answers; empty in
            the first of two.
        notice: why there is to be no link, in a word; empty if there is to be one.
    """

    node: NodeId
    cluster: str
    addresses: tuple[str, ...] = ()
    oldest: int = VERSION
    newest: int = VERSION
    max_frame: int = MAX_FRAME
    schema: bytes = b""
    answering: bytes = b""
    notice: str = ""

    def pack(self, codec: Codec) -> bytes:
        """Return it as the body of a frame."""
        return codec.pack(
            [
                self.oldest,
                self.newest,
                self.cluster,
                self.node.name,
                self.node.incarnation,
                list(self.addresses),
                [],  # capabilities: none in this version
                self.max_frame,
                self.schema,
                self.answering,
                self.notice,
            ]
        )

    @classmethod
    def unpack(cls, codec: Codec, body: bytes) -> Greeting:
        """Return the greeting that the body of a frame is; parts of later versions are ignored.

        Raises:
            BadFrame: if it is none.
        """
        match codec.unpack(body):
            case [
                int(oldest),
                int(newest),
                str(cluster),
                str(name),
                bytes(incarnation),
                addresses,
                list(),
                int(max_frame),
                bytes(schema),
                bytes(answering),
                str(notice),
                *_,
            ] if len(incarnation) == _INCARNATION and 0 < len(name) <= _NAME:
                node = NodeId(name, incarnation)
                return cls(
                    node,
                    cluster,
                    _texts(addresses),
                    oldest,
                    newest,
                    max_frame,
                    schema,
                    answering,
                    notice,
                )
            case other:
                raise BadFrame("greeting", f"{other!r:.80}")

    def problem_with(self, other: Greeting) -> str | None:
        """Return why these two nodes cannot link, in words; None if they can."""
        if other.cluster != self.cluster:
            return f"cluster {other.cluster!r}, this is {self.cluster!r}"
        if other.newest < self.oldest or other.oldest > self.newest:
            return (
                f"versions {other.oldest} to {other.newest}, "
                f"this node has {self.oldest} to {self.newest}"
            )
        if other.node == self.node:
            return "it is this node itself"
        if other.node.name == self.node.name:
            return f"it calls itself {other.node.name!r}, as this node does"
        return None


def _texts(values: Any) -> tuple[str, ...]:
    match values:
        case [*texts] if all(type(text) is str for text in texts):
            return tuple(texts)
        case _:
            raise BadFrame("greeting", f"addresses {values!r:.80}")
