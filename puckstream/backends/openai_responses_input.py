"""A request's messages and options in the words of the OpenAI Responses API. Pure.

Reference: OpenAI API, "Responses", "Reasoning" (items are sent back as they came).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from puckstream.backends.base import Message
from puckstream.backends.conversation import (
    calls_of,
    data_of,
    function_of,
    native_of,
    parts_of,
    respelled,
)

__all__ = ["input_of", "options_of"]

Item = Mapping[str, Any]


def input_of(messages: Iterable[Message], provider: str, *, stored: bool) -> list[Item]:
    """Return the conversation as input items.

    Args:
        messages: the conversation.
        provider: the provider's name, for errors.
        stored: whether the provider keeps its answers, so that a reasoning item that is not
            encrypted can be named by its id.

    Raises:
        StreamError: of kind ``invalid_request``, if a tool's arguments are no JSON object.
    """
    items: list[Item] = []
    for message in messages:
        role, content = message["role"], message.get("content")
        if role == "tool":
            output = content if isinstance(content, str) else _parts(content, "input")
            call = {"call_id": message.get("tool_call_id"), "output": output}
            items.append({"type": "function_call_output", **call})
            continue
        native: object = native_of(message, "openai-responses") if role == "assistant" else None
        if isinstance(native, list) and native:
            found = cast("list[Item]", native)
            items += [item for item in found if stored or _stands_alone(item)]
            continue
        if content:
            way = "output" if role == "assistant" else "input"
            said = content if isinstance(content, str) else _parts(content, way)
            items.append({"role": role, "content": said})
        items += [
            {"type": "function_call", "call_id": id_, "name": name, "arguments": text}
            for id_, name, text, _ in calls_of(message, provider)
        ]
    return items


def options_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options, those of chat completions in the words of Responses."""
    said = dict(options)
    for name in ("max_tokens", "max_completion_tokens"):
        limit = said.pop(name, None)
        if limit is not None:
            said.setdefault("max_output_tokens", limit)
    said.pop("stream_options", None)
    if said.get("tools") is not None:
        said["tools"] = respelled(said["tools"], lambda function: {"type": "function", **function})
    chosen = function_of(said.get("tool_choice"))
    if chosen is not None:
        said["tool_choice"] = {"type": "function", "name": chosen.get("name")}
    return said


def _stands_alone(item: Item) -> bool:
    return item.get("type") != "reasoning" or bool(item.get("encrypted_content"))


def _parts(content: object, way: str) -> list[Item]:
    return [_part(part, way) for part in parts_of(content)]


def _part(part: Mapping[str, Any], way: str) -> Item:
    kind = part.get("type")
    if kind == "text":
        return {**part, "type": f"{way}_text"}
    if kind == "image_url":
        image: object = part.get("image_url")
        detail = (
            cast("Mapping[str, Any]", image).get("detail") if isinstance(image, Mapping) else None
        )
        return {"type": "input_image", "image_url": data_of(part)[0], "detail": detail or "auto"}
    return part
