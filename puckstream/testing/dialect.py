"""What a dialect of the scripted model is, seen from the server: requests in, bytes out. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from puckstream.testing.script import Fault, Piece, Script, ToolCall

__all__ = [
    "Asked",
    "BadRequest",
    "Dialect",
    "Reply",
    "arguments_of",
    "asked",
    "call_id",
    "event",
    "fields_of",
    "objects_in",
    "text_of",
]


class BadRequest(Exception):
    """The request is none of this dialect; the message is for the client."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request matters to a script."""

    model: str
    stream: bool
    include_usage: bool
    said: str
    """What the user said last."""
    words: int
    """Words in all messages, which stand in for the tokens of the prompt."""


class Reply(Protocol):
    """Spells one answer, as a stream or as one object."""

    def opening(self) -> bytes:
        """Return what comes before the first piece."""
        ...

    def piece(self, piece: Piece) -> bytes:
        """Return what ``piece`` adds, which may be nothing yet."""
        ...

    def ending(self, pieces: Sequence[Piece]) -> Iterable[bytes]:
        """Return what ends the stream."""
        ...

    def fault(self, fault: Fault) -> bytes:
        """Return the event of an ``error``, or a ``malformed`` one."""
        ...

    def whole(self, pieces: Sequence[Piece]) -> bytes:
        """Return the whole answer as one object."""
        ...


class Dialect(Protocol):
    """One API: its path, its requests, its answers, its errors."""

    @property
    def name(self) -> str:
        """What the log calls it."""
        ...

    @property
    def path(self) -> str:
        """Where requests are sent, without the ``/v1`` that some have."""
        ...

    @property
    def media(self) -> str:
        """The media type of a streamed answer."""
        ...

    def read(self, body: bytes) -> Asked:
        """Decode a request's body.

        Raises:
            BadRequest: if it is not what the API takes.
        """
        ...

    def reply(self, asked: Asked, script: Script, id: str, created: int) -> Reply:
        """Return what spells the answer of request ``id``."""
        ...

    def error(self, message: str, kind: str) -> bytes:
        """Return an error as the API spells it."""
        ...


def fields_of(body: bytes) -> Mapping[str, Any]:
    """Return the fields of a request's body, its ``model`` among them.

    Raises:
        BadRequest: if it is no JSON object with a model.
    """
    try:
        said: object = json.loads(body)
    except ValueError as error:
        msg = f"the body is not JSON: {error}"
        raise BadRequest(msg) from error
    if not isinstance(said, dict):
        msg = "the body is not a JSON object"
        raise BadRequest(msg)
    fields = cast("Mapping[str, Any]", said)
    if not isinstance(fields.get("model"), str):
        msg = "'model' must be a string"
        raise BadRequest(msg)
    return fields


def objects_in(fields: Mapping[str, Any], name: str, *keys: str) -> list[Mapping[str, Any]]:
    """Return a field that holds a list of objects, each with one of ``keys``.

    Raises:
        BadRequest: if it is anything else, or empty.
    """
    found: object = fields.get(name)
    if not isinstance(found, list) or not found:
        msg = f"'{name}' must be a list with at least one message"
        raise BadRequest(msg)
    each = cast("list[object]", found)
    for one in each:
        if not isinstance(one, dict) or not any(key in one for key in keys):
            msg = f"every one of '{name}' must be an object with a '{keys[0]}'"
            raise BadRequest(msg)
    return cast("list[Mapping[str, Any]]", each)


def asked(
    fields: Mapping[str, Any],
    turns: Sequence[tuple[str, str]],
    *,
    stream: bool,
    include_usage: bool = True,
) -> Asked:
    """Sum a request up.

    Args:
        fields: the fields of the body.
        turns: role and text of each message, the instructions included.
        stream: whether the answer is to be streamed.
        include_usage: whether a stream is to say its usage.
    """
    return Asked(
        model=str(fields["model"]),
        stream=stream,
        include_usage=include_usage,
        said=next((text for role, text in reversed(turns) if role == "user" and text), ""),
        words=sum(len(text.split()) for _, text in turns),
    )


def text_of(content: object) -> str:
    """Return the text of a message, whose content may be a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = cast("list[Mapping[str, Any]]", content)
    return " ".join(str(part["text"]) for part in parts if "text" in part)


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """Return a call's arguments as an object, empty if the script does not write one."""
    try:
        said: object = json.loads(call.arguments)
    except ValueError:
        return {}
    return cast("dict[str, Any]", said) if isinstance(said, dict) else {}


def call_id(script: Script, number: int) -> str:
    """Return the id of a script's tool call."""
    return script.tool_calls[number].id or f"call_{number + 1}"


def event(data: Mapping[str, Any], name: str = "") -> bytes:
    """Return a server-sent event."""
    head = b"event: " + name.encode() + b"\n" if name else b""
    return head + b"data: " + json.dumps(data).encode() + b"\n\n"
