"""What an OpenAI Responses stream says, as chunks: events in, chunks out, no I/O.

Text, reasoning, refusals and function calls have chunks of their own; events that only frame or
repeat them are skipped; every other family (web search, MCP, images, audio, …) passes through as
``raw``. ``response.completed`` or ``response.incomplete`` ends the answer.

Reference: OpenAI API, "Responses", streaming events.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

import msgspec

from puckstream.backends.base import Chunk, Usage
from puckstream.backends.failure import cut_short, from_error_object, unreadable
from puckstream.backends.sse import SseEvent
from puckstream.errors import StreamError

__all__ = ["ResponsesDecoder"]


class _Event(msgspec.Struct, gc=False):
    type: str | None = None
    delta: Any = None
    arguments: str | None = None
    item_id: str | None = None
    output_index: int | None = None
    summary_index: int = 0
    item: dict[str, Any] | None = None
    response: dict[str, Any] | None = None
    logprobs: Any = None
    error: Any = None


class _Call:
    """What is known of one function call."""

    __slots__ = ("id", "name", "number", "spoke")

    def __init__(self, number: int) -> None:
        self.number = number
        self.id: str | None = None
        self.name: str | None = None
        self.spoke = False
        """Whether any of its arguments came."""

    def learn(self, item: Mapping[str, Any]) -> None:
        """Take the id and the name from ``item``, whose own id stands in for the call's."""
        self.id = item.get("call_id") or self.id or item.get("id")
        self.name = item.get("name") or self.name


_TEXTS: Mapping[str, str] = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "thinking",
    "response.reasoning_summary_text.delta": "thinking",
}
_ENDS = ("response.completed", "response.incomplete", "response.failed")
_HEADS = ("response.created", "response.in_progress", "response.queued")
_FRAMES = frozenset(
    {
        "response.content_part.added",
        "response.content_part.done",
        "response.output_text.done",
        "response.refusal.done",
        "response.reasoning_summary_part.done",
        "response.reasoning_summary_text.done",
        "response.reasoning_text.done",
    }
)
_OWN_ITEMS = ("message", "reasoning", "function_call")
_INCOMPLETE: Mapping[str, str] = {"max_output_tokens": "length"}
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_DECODER = msgspec.json.Decoder(_Event)


class ResponsesDecoder:
    """Decodes one answer.

    Args:
        provider: the provider's name, for errors.
        secrets: texts that must not appear in an error's message.
    """

    def __init__(self, provider: str, secrets: tuple[str, ...] = ()) -> None:
        self._provider = provider
        self._secrets = secrets
        self._calls: dict[str | int | None, _Call] = {}
        self._items: dict[int, dict[str, Any]] = {}
        self._response: Mapping[str, Any] = _NOTHING
        self._extra = _NOTHING
        self._begun = False
        self.done = False
        """Whether the terminal event has come: what follows is to be ignored."""

    def decode(self, event: SseEvent) -> list[Chunk]:
        """Return the chunks that ``event`` holds, most often exactly one.

        Raises:
            StreamError: if it holds an error, or is no JSON of this dialect (kind ``parse``).
        """
        try:
            return self._decode(event)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise unreadable(
                event.data, error, provider=self._provider, secrets=self._secrets
            ) from error

    def _decode(self, event: SseEvent) -> list[Chunk]:
        data = event.data
        if not data or data.startswith(b"[DONE]"):  # compatible servers send it all the same
            return []
        said = _DECODER.decode(data)
        type_ = said.type or event.name
        self._begun = True
        kind = _TEXTS.get(type_)
        if kind is not None:
            return self._read_text(kind, said)
        if type_ == "error" or said.error is not None:
            raise self._error(_again(data) if said.error is None else said.error)
        if type_.startswith("response.function_call_arguments."):
            return self._read_arguments(said)
        if type_ in _HEADS:
            self._read_head(said.response or {})
            return []
        if type_ in _ENDS:
            self._read_end(type_, said.response or {})
            return []
        if type_ == "response.reasoning_summary_part.added":
            # The parts of a summary are paragraphs.
            return [self._chunk("thinking", "\n\n")] if said.summary_index else []
        if type_ in _FRAMES:
            return []
        item = said.item or {}
        if type_ == "response.output_item.done":
            self._items[len(self._items) if said.output_index is None else said.output_index] = item
        if item.get("type") in _OWN_ITEMS:
            return self._read_item(type_, said, item)
        whole = _again(data)
        return [self._chunk("raw", whole, event=type_)]

    def finish(self) -> Chunk:
        """Return the last chunk of the answer.

        Raises:
            StreamError: if the answer is not complete: no terminal event came.
        """
        if not self.done:
            missing = "neither response.completed nor response.incomplete"
            raise cut_short(missing, begun=self._begun, provider=self._provider)
        response = self._response
        usage = _mapping(response.get("usage"))
        metadata: dict[str, Any] = {
            "finish_reason": self._reason(),
            "usage": _usage(usage),
            "model": response.get("model"),
            "response_id": response.get("id"),
            "status": response.get("status"),
        }
        if usage:
            metadata["usage_details"] = usage
        items = [item for _, item in sorted(self._items.items())]
        if any(item.get("type") not in ("message", "function_call") for item in items):
            metadata["native"] = {"openai-responses": items}
        return Chunk("finish", "", metadata)

    def _read_text(self, kind: str, said: _Event) -> list[Chunk]:
        if not said.delta:
            return []
        extra = {"logprobs": said.logprobs} if said.logprobs else {}
        return [self._chunk(kind, str(said.delta), **extra)]

    def _read_head(self, response: Mapping[str, Any]) -> None:
        known = {"model": response.get("model"), "response_id": response.get("id")}
        self._extra = {name: value for name, value in known.items() if value is not None}

    def _read_end(self, type_: str, response: Mapping[str, Any]) -> None:
        if type_ == "response.failed":
            raise self._error(response.get("error") or "the response failed")
        self._response = response
        self.done = True

    def _read_item(self, type_: str, said: _Event, item: Mapping[str, Any]) -> list[Chunk]:
        if item.get("type") != "function_call":
            return []
        call, chunks = self._call_of(said, item)
        whole = str(item.get("arguments") or "")
        if type_ == "response.output_item.done" and whole and not call.spoke:
            chunks.append(self._arguments(call, whole))
        return chunks

    def _read_arguments(self, said: _Event) -> list[Chunk]:
        call, chunks = self._call_of(said, {"id": said.item_id})
        part = said.delta if isinstance(said.delta, str) else ""
        if not part and not call.spoke:  # ``.done`` of a server that sent no delta
            part = said.arguments or ""
        if part:
            chunks.append(self._arguments(call, part))
        return chunks

    def _call_of(self, said: _Event, item: Mapping[str, Any]) -> tuple[_Call, list[Chunk]]:
        """Return the call that ``said`` is about, and the chunk that begins it if it is new."""
        key = said.output_index if said.output_index is not None else str(item.get("id"))
        call = self._calls.get(key)
        if call is not None:
            call.learn(item)
            return call, []
        call = self._calls[key] = _Call(len(self._calls))
        call.learn(item)
        return call, [self._arguments(call, "")]

    def _arguments(self, call: _Call, part: str) -> Chunk:
        call.spoke = call.spoke or bool(part)
        return self._chunk(
            "tool_use", part, index=call.number, id=call.id, name=call.name, arguments=part
        )

    def _chunk(self, type_: str, content: Any, **metadata: Any) -> Chunk:
        """Make a chunk; the first of an answer says what is known of the whole."""
        extra, self._extra = self._extra, _NOTHING
        return Chunk(type_, content, {**extra, **metadata} if metadata else extra)

    def _reason(self) -> str:
        reason = _mapping(self._response.get("incomplete_details")).get("reason")
        if reason is not None:
            return _INCOMPLETE.get(str(reason), str(reason))
        return "tool_calls" if self._calls else "stop"

    def _error(self, detail: object) -> StreamError:
        return from_error_object(detail, provider=self._provider, secrets=self._secrets)


def _again(data: bytes) -> dict[str, Any]:
    """Decode an event once more, with all the fields that only few are interested in."""
    return cast("dict[str, Any]", msgspec.json.decode(data))


def _mapping(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _usage(said: Mapping[str, Any]) -> Usage:
    details = _mapping(said.get("output_tokens_details"))
    return Usage(
        input=_count(said.get("input_tokens")),
        output=_count(said.get("output_tokens")),
        thinking=_count(details.get("reasoning_tokens")),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None
