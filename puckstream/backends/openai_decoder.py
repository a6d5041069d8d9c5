"""What an OpenAI chat-completions stream says, as chunks: events in, chunks out, no I/O.

Reads the dialect as it is spoken by OpenAI, vLLM, llama.cpp, Ollama's ``/v1``, LiteLLM and
others: unknown fields are skipped, everything may be missing or null. ``data: [DONE]`` ends the
answer; so does the end of the response, if a ``finish_reason`` has come.
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

__all__ = ["ChatDecoder"]


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning: str | None = None  # vLLM, Ollama, OpenRouter
    reasoning_content: str | None = None  # llama.cpp, DeepSeek, Qwen
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None  # before there were tools


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None
    logprobs: Any = None


class _Event(msgspec.Struct, gc=False):
    id: str | None = None
    object: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: dict[str, Any] | None = None
    timings: dict[str, Any] | None = None  # llama.cpp
    error: Any = None


class _Tool:
    """What is known of one tool call: its name and id come only with its first delta."""

    __slots__ = ("id", "index", "name")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id: str | None = None
        self.name: str | None = None


_NOTHING: Mapping[str, Any] = MappingProxyType({})  # shared: most chunks are text and no more
_DECODER = msgspec.json.Decoder(_Event)


class ChatDecoder:
    """Decodes one answer.

    Args:
        provider: the provider's name, for errors.
        secrets: texts that must not appear in an error's message.
    """

    def __init__(self, provider: str, secrets: tuple[str, ...] = ()) -> None:
        self._provider = provider
        self._secrets = secrets
        self._tools: dict[int, _Tool] = {}
        self._tool = _Tool(-1)
        self._thinking: dict[str, list[str]] = {}
        self._finish_reason: str | None = None
        self._usage: dict[str, Any] | None = None
        self._timings: dict[str, Any] | None = None
        self._model: str | None = None
        self._id: str | None = None
        self.done = False
        """Whether ``[DONE]`` has come: what follows is to be ignored."""

    def decode(self, event: SseEvent) -> list[Chunk]:
        """Return the chunks that ``event`` holds, most often exactly one.

        Raises:
            StreamError: if it holds an error, or is no JSON of this dialect (kind ``parse``).
        """
        data = event.data
        if data.startswith(b"[DONE]"):
            self.done = True
            return []
        if not data:  # a heartbeat
            return []
        try:
            said = _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise unreadable(data, error, provider=self._provider, secrets=self._secrets) from error
        if said.error is not None or said.object == "error" or event.name == "error":
            raise self._error(said, data)
        if said.model:
            self._model = said.model
        if said.id:
            self._id = said.id
        extra = _NOTHING
        if said.usage is not None:
            self._usage = said.usage
            extra = {**extra, "usage": _usage(said.usage)}
        if said.timings is not None:
            self._timings = said.timings
            extra = {**extra, "timings": said.timings}
        chunks: list[Chunk] = []
        for choice in said.choices or ():
            if choice.index:  # a stream is one answer; the request asked for no other
                continue
            if choice.finish_reason is not None:
                self._finish_reason = choice.finish_reason
            if choice.logprobs is not None:
                extra = {**extra, "logprobs": choice.logprobs}
            if choice.delta is not None:
                self._read(choice.delta, extra, chunks)
        return chunks

    def finish(self) -> Chunk:
        """Return the last chunk of the answer.

        Raises:
            StreamError: if the answer is not complete: no ``finish_reason``, no ``[DONE]``.
        """
        if not self.done and self._finish_reason is None:
            missing = "neither finish_reason nor [DONE]"
            raise cut_short(missing, begun=bool(self._id), provider=self._provider)
        metadata: dict[str, Any] = {
            "finish_reason": self._finish_reason,
            "usage": _usage(self._usage or {}),
            "model": self._model,
            "response_id": self._id,
        }
        if self._usage is not None:
            metadata["usage_details"] = self._usage
        if self._timings is not None:
            metadata["timings"] = self._timings
        if self._tools and self._thinking:
            # DeepSeek refuses the results of tools without what it thought before the calls.
            texts = {name: "".join(parts) for name, parts in self._thinking.items()}
            metadata["native"] = {"openai": texts}
        return Chunk("finish", "", metadata)

    def _read(self, delta: _Delta, extra: Mapping[str, Any], chunks: list[Chunk]) -> None:
        thinking = delta.reasoning or delta.reasoning_content
        if thinking:
            name = "reasoning" if delta.reasoning else "reasoning_content"
            self._thinking.setdefault(name, []).append(thinking)
            chunks.append(Chunk("thinking", thinking, extra))
        if delta.content:
            chunks.append(Chunk("content", delta.content, extra))
        if delta.refusal:
            chunks.append(Chunk("refusal", delta.refusal, extra))
        calls = delta.tool_calls
        if calls is None and delta.function_call is not None:
            calls = [_ToolCall(0, None, delta.function_call)]
        for call in calls or ():
            tool = self._tool_of(call)
            function = call.function or _Function()
            tool.id = call.id or tool.id
            tool.name = function.name or tool.name
            arguments = function.arguments or ""
            known = {"index": tool.index, "id": tool.id, "name": tool.name, "arguments": arguments}
            chunks.append(Chunk("tool_use", arguments, {**extra, **known}))

    def _tool_of(self, call: _ToolCall) -> _Tool:
        """Find the tool call a delta belongs to: by index, else by a new id, else the last."""
        index = call.index
        if index is None:
            starts = call.id is not None and call.id != self._tool.id
            index = len(self._tools) if starts or not self._tools else self._tool.index
        self._tool = self._tools.setdefault(index, _Tool(index))
        return self._tool

    def _error(self, said: _Event, data: bytes) -> StreamError:
        detail: object = said.error
        if detail is None:
            try:
                detail = cast("object", msgspec.json.decode(data))
            except (msgspec.DecodeError, UnicodeDecodeError):  # in a field that was skipped before
                detail = None
        return from_error_object(detail, provider=self._provider, secrets=self._secrets)


def _usage(said: Mapping[str, Any]) -> Usage:
    details: object = said.get("completion_tokens_details")
    thinking: object = None
    if isinstance(details, dict):
        thinking = cast("Mapping[str, Any]", details).get("reasoning_tokens")
    return Usage(
        input=_count(said.get("prompt_tokens")),
        output=_count(said.get("completion_tokens")),
        thinking=_count(thinking),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None
