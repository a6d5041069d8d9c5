"""What Ollama's native ``/api/chat`` says, as chunks: lines in, chunks out, no I/O.

Each line is a JSON object; tool calls come whole; an error after HTTP 200 is a line with
``error``. Only the line with ``done: true`` ends the answer.

Reference: Ollama API, "Generate a chat message", "Streaming", "Errors".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from puckstream.backends.base import Chunk, Usage
from puckstream.backends.failure import cut_short, from_error_object, unreadable

__all__ = ["OllamaDecoder"]


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: Any = None


class _ToolCall(msgspec.Struct, gc=False):
    id: str | None = None
    function: _Function | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Line(msgspec.Struct, gc=False):
    model: str | None = None
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None
    logprobs: Any = None
    error: Any = None


_DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_DECODER = msgspec.json.Decoder(_Line)


class OllamaDecoder:
    """Decodes one answer.

    Args:
        provider: the provider's name, for errors.
        secrets: texts that must not appear in an error's message.
    """

    def __init__(self, provider: str, secrets: tuple[str, ...] = ()) -> None:
        self._provider = provider
        self._secrets = secrets
        self._last = _Line()
        self._model: str | None = None
        self._begun = False
        self._tools = 0
        self._thinking: list[str] = []
        self.done = False
        """Whether the line with ``done: true`` has come."""

    def decode(self, line: bytes) -> list[Chunk]:
        """Return the chunks that ``line`` holds, most often exactly one.

        Raises:
            StreamError: if it holds an error, or is no JSON of this dialect (kind ``parse``).
        """
        try:
            said = _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise unreadable(line, error, provider=self._provider, secrets=self._secrets) from error
        if said.error is not None:
            raise from_error_object(said.error, provider=self._provider, secrets=self._secrets)
        self._begun = True
        self._model = said.model or self._model
        extra = _NOTHING if said.logprobs is None else {"logprobs": said.logprobs}
        chunks: list[Chunk] = []
        message = said.message
        if message is not None:
            if message.thinking:
                self._thinking.append(message.thinking)
                chunks.append(Chunk("thinking", message.thinking, extra))
            if message.content:
                chunks.append(Chunk("content", message.content, extra))
            chunks += [self._tool(call) for call in message.tool_calls or ()]
        if said.done:
            self.done = True
            self._last = said
        return chunks

    def finish(self) -> Chunk:
        """Return the last chunk of the answer.

        Raises:
            StreamError: if the answer is not complete: no line had ``done: true``.
        """
        if not self.done:
            missing = "no line with done: true"
            raise cut_short(missing, begun=self._begun, provider=self._provider)
        last = self._last
        reason = last.done_reason
        if self._tools and reason in (None, "stop"):
            reason = "tool_calls"
        metadata: dict[str, Any] = {
            "finish_reason": reason or "stop",
            "usage": Usage(last.prompt_eval_count, last.eval_count),
            "model": self._model,
            "done_reason": last.done_reason,
        }
        durations = {name: getattr(last, name) for name in _DURATIONS}
        timings = {name: value for name, value in durations.items() if value is not None}
        if timings:
            metadata["timings"] = timings  # nanoseconds, as Ollama counts them
        if self._tools and self._thinking:
            # Models that think between calls want to see what they thought.
            metadata["native"] = {"ollama": {"thinking": "".join(self._thinking)}}
        return Chunk("finish", "", metadata)

    def _tool(self, call: _ToolCall) -> Chunk:
        function = call.function or _Function()
        arguments = function.arguments
        if not isinstance(arguments, str):
            arguments = "{}" if arguments is None else msgspec.json.encode(arguments).decode()
        metadata = {
            "index": self._tools,
            # Older servers give none, and a tool's result must say which call it answers.
            "id": call.id or f"call_{self._tools}",
            "name": function.name,
            "arguments": arguments,
        }
        self._tools += 1
        return Chunk("tool_use", arguments, metadata)
