"""A request's messages and options in the words of the Anthropic Messages API. Pure.

Reference: Anthropic API, "Messages", "Tool use", "Extended thinking".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from puckstream.backends.base import Message
from puckstream.backends.conversation import (
    INSTRUCTING,
    calls_of,
    data_of,
    function_of,
    native_of,
    parts_of,
    respelled,
    text_of,
)

__all__ = ["options_of", "system_of", "turns_of"]

Block = Mapping[str, Any]

_NO_PARAMETERS: Block = {"type": "object", "properties": {}}


def system_of(messages: Iterable[Message]) -> str | list[Block] | None:
    """Return the instructions, wherever they stand: text, or blocks if one of them has any."""
    contents = [message["content"] for message in messages if message["role"] in INSTRUCTING]
    contents = [content for content in contents if content]
    if all(isinstance(content, str) for content in contents):
        return "\n\n".join(contents) or None
    return [part for content in contents for part in parts_of(content)]


def turns_of(messages: Iterable[Message], provider: str) -> list[dict[str, Any]]:
    """Return the turns, the user's and the model's by turns.

    Results of tools become a user's turn, whose first blocks they must be; what follows of the
    user joins them.

    Raises:
        StreamError: of kind ``invalid_request``, if a tool's arguments are no JSON object.
    """
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = message["role"]
        if role in INSTRUCTING:
            continue
        if role == "tool":
            role, content = "user", [_result(message)]
        elif role == "assistant":
            content = _answer(message, provider)
        else:
            content = [_part(part) for part in parts_of(message.get("content"))]
        if not content:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += content
        else:
            turns.append({"role": role, "content": content})
    for turn in turns:  # the short form, where it says the same
        (first, *more) = turn["content"]
        if not more and set(first) == {"type", "text"}:
            turn["content"] = first["text"]
    return turns


def options_of(options: Mapping[str, Any], max_tokens: int) -> dict[str, Any]:
    """Return the options, those of chat completions in Anthropic's words.

    Args:
        options: the caller's.
        max_tokens: what to allow besides thinking, unless the options say so.
    """
    said = dict(options)
    other = said.pop("max_completion_tokens", None)
    limit = said.pop("max_tokens", None) or other
    if limit is None:
        thinking: object = said.get("thinking")
        budget = 0
        if isinstance(thinking, Mapping):
            budget = int(cast("Mapping[str, Any]", thinking).get("budget_tokens") or 0)
        limit = max_tokens + budget
    said["max_tokens"] = limit
    stop = said.pop("stop", None)
    if stop is not None:
        said["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if said.get("tools") is not None:
        said["tools"] = respelled(said["tools"], _tool)
    if said.get("tool_choice") is not None:
        said["tool_choice"] = _choice(said["tool_choice"])
    return said


def _answer(message: Message, provider: str) -> list[Block]:
    native: object = native_of(message, "anthropic")
    if isinstance(native, list) and native:
        return list(cast("list[Block]", native))
    blocks = [_part(part) for part in parts_of(message.get("content"))]
    blocks += [
        {"type": "tool_use", "id": id_, "name": name, "input": arguments}
        for id_, name, _, arguments in calls_of(message, provider)
    ]
    return blocks


def _result(message: Message) -> Block:
    content: object = message.get("content")
    blocks = content if isinstance(content, str) else [_part(p) for p in parts_of(content)]
    result = {"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": blocks}
    return {**result, "is_error": True} if message.get("is_error") else result


def _part(part: Mapping[str, Any]) -> Block:
    kind = part.get("type")
    if kind == "image_url":
        address, data = data_of(part)
        source = {"type": "url", "url": address}
        if data is not None:
            source = {"type": "base64", "media_type": data[0], "data": data[1]}
        return {"type": "image", "source": source}
    if kind == "refusal":
        return {"type": "text", "text": text_of([{"text": part.get("refusal")}])}
    return part


def _tool(function: Mapping[str, Any]) -> dict[str, Any]:
    tool = {"name": function.get("name"), "description": function.get("description")}
    schema: object = function.get("parameters") or _NO_PARAMETERS
    return {**{k: v for k, v in tool.items() if v is not None}, "input_schema": schema}


def _choice(choice: object) -> object:
    if isinstance(choice, str):
        return {"type": {"required": "any"}.get(choice, choice)}
    function = function_of(choice)
    return choice if function is None else {"type": "tool", "name": function.get("name")}
