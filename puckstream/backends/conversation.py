"""Reading a request's messages, for the dialects that spell them differently.

A `Context` spells its messages as OpenAI's chat completions do; what is here takes them apart.
Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from puckstream.backends.base import Message
from puckstream.errors import StreamError

__all__ = [
    "INSTRUCTING",
    "call_names",
    "calls_of",
    "data_of",
    "function_of",
    "native_of",
    "parts_of",
    "respelled",
    "text_of",
]

INSTRUCTING = ("system", "developer")
"""Roles of the application's own words."""


def parts_of(content: object) -> list[Mapping[str, Any]]:
    """Return a message's content as a list of parts; text is one part, nothing is none."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(cast("Sequence[Mapping[str, Any]]", content or ()))


def text_of(content: object) -> str:
    """Return the text of a message's content; parts are joined by blank lines."""
    if isinstance(content, str):
        return content
    texts = (part.get("text") for part in parts_of(content))
    return "\n\n".join(text for text in texts if isinstance(text, str))


def data_of(part: Mapping[str, Any]) -> tuple[str, tuple[str, str] | None]:
    """Return the address of an ``image_url`` part and, of a data URL, media type and base64."""
    image: object = part.get("image_url")
    url = cast("Mapping[str, Any]", image).get("url") if isinstance(image, Mapping) else image
    address = str(url or "")
    head, comma, data = address.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        return address, (head.removeprefix("data:").partition(";")[0], data)
    return address, None


def calls_of(message: Message, provider: str) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Return the tool calls of a model's turn: id, name, arguments as text and as an object.

    Raises:
        StreamError: of kind ``invalid_request``, if arguments are no JSON object.
    """
    calls: list[tuple[str, str, str, dict[str, Any]]] = []
    for call in cast("Iterable[Mapping[str, Any]]", message.get("tool_calls") or ()):
        function = cast("Mapping[str, Any]", call.get("function") or {})
        id_, name = str(call.get("id") or ""), str(function.get("name") or "")
        said: object = function.get("arguments") or "{}"
        text = said if isinstance(said, str) else json.dumps(said)
        try:
            read: object = json.loads(text)
        except ValueError:
            read = None
        if not isinstance(read, dict):
            msg = f"the arguments of tool call {name!r} ({id_}) are no JSON object: {text[:80]!r}"
            raise StreamError("invalid_request", msg, provider=provider)
        calls.append((id_, name, text, cast("dict[str, Any]", read)))
    return calls


def call_names(messages: Iterable[Message]) -> dict[str, str]:
    """Return the names of the tools that were called, by the id of the call; the last counts."""
    return {
        str(call.get("id")): str(cast("Mapping[str, Any]", call.get("function") or {}).get("name"))
        for message in messages
        for call in cast("Iterable[Mapping[str, Any]]", message.get("tool_calls") or ())
    }


def native_of(message: Message, dialect: str) -> Any:
    """Return what ``dialect`` wants back with this turn, or ``None``."""
    native: object = message.get("native")
    return cast("Mapping[str, Any]", native).get(dialect) if isinstance(native, Mapping) else None


def respelled(
    tools: object, spell: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> list[object]:
    """Return a list of tools with those that are spelled as chat completions do respelled.

    Args:
        tools: ``[{"type": "function", "function": {…}}, …]``; others are left as they are.
        spell: makes the tool out of its ``function``.
    """
    found: list[object] = []
    for tool in cast("Iterable[object]", tools):
        function = function_of(tool)
        found.append(tool if function is None else spell(function))
    return found


def function_of(said: object) -> Mapping[str, Any] | None:
    """Return the ``function`` of a tool or a ``tool_choice`` that has one."""
    if not isinstance(said, Mapping):
        return None
    function: object = cast("Mapping[str, Any]", said).get("function")
    return cast("Mapping[str, Any]", function) if isinstance(function, Mapping) else None
