"""What an Anthropic Messages stream says, as chunks: events in, chunks out, no I/O.

Text, thinking and tool calls have chunks of their own; ``ping`` and event types nobody knows are
skipped; blocks and deltas of other kinds (server tools, citations) pass through as ``raw``. The
usage is cumulative. ``message_stop`` ends the answer; so does the end of the response, if a
``stop_reason`` has come.

Reference: Anthropic API, "Streaming messages".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

import msgspec

from puckstream.backends.anthropic_block import Block, replayed
from puckstream.backends.base import Chunk, Usage
from puckstream.backends.failure import cut_short, from_error_object, unreadable
from puckstream.backends.sse import SseEvent

__all__ = ["MessagesDecoder"]


class _Delta(msgspec.Struct, gc=False):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Any = None


class _Message(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None


class _Event(msgspec.Struct, gc=False):
    type: str | None = None
    index: int = 0
    message: _Message | None = None
    content_block: dict[str, Any] | None = None
    delta: _Delta | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


_REASONS: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_NOTHING: Mapping[str, Any] = MappingProxyType({})  # shared: most chunks are text and no more
_DECODER = msgspec.json.Decoder(_Event)


class MessagesDecoder:
    """Decodes one answer.

    Args:
        provider: the provider's name, for errors.
        secrets: texts that must not appear in an error's message.
    """

    def __init__(self, provider: str, secrets: tuple[str, ...] = ()) -> None:
        self._provider = provider
        self._secrets = secrets
        self._blocks: dict[int, Block] = {}
        self._tools = 0
        self._usage: dict[str, Any] = {}
        self._message = _Message()
        self._stop = _Delta()
        self._begun = False
        self._extra = _NOTHING
        self.done = False
        """Whether ``message_stop`` has come: what follows is to be ignored."""

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
        if not data:
            return []
        said = _DECODER.decode(data)
        type_ = said.type or event.name
        if type_ == "error" or said.error is not None:
            detail = _again(data) if said.error is None else said.error
            raise from_error_object(detail, provider=self._provider, secrets=self._secrets)
        chunks: list[Chunk] = []
        if type_ == "content_block_delta":
            self._read_delta(said, data, chunks)
        elif type_ == "content_block_start":
            self._read_start(said, data, chunks)
        elif type_ == "content_block_stop":
            self._read_stop(said.index, chunks)
        elif type_ == "message_start":
            self._read_head(said.message or _Message())
        elif type_ == "message_delta":
            self._count(said.usage)
            if said.delta is not None and said.delta.stop_reason is not None:
                self._stop = said.delta
        elif type_ == "message_stop":
            self.done = True
        return chunks

    def finish(self) -> Chunk:
        """Return the last chunk of the answer.

        Raises:
            StreamError: if the answer is not complete: no ``stop_reason``, no ``message_stop``.
        """
        stop = self._stop
        if not self.done and stop.stop_reason is None:
            missing = "neither a stop_reason nor message_stop"
            raise cut_short(missing, begun=self._begun, provider=self._provider)
        reason = stop.stop_reason
        metadata: dict[str, Any] = {
            "finish_reason": None if reason is None else _REASONS.get(reason, reason),
            "usage": _usage(self._usage),
            "model": self._message.model,
            "response_id": self._message.id,
            "stop_reason": reason,
        }
        for name in ("stop_sequence", "stop_details"):
            value = getattr(stop, name)
            if value is not None:
                metadata[name] = value
        if self._usage:
            metadata["usage_details"] = self._usage
        native = replayed(self._blocks)
        if native is not None:
            metadata["native"] = {"anthropic": native}
        return Chunk("finish", "", metadata)

    def _read_head(self, message: _Message) -> None:
        self._begun = True
        self._message = message
        self._count(message.usage)
        # The output counted here is a placeholder, which would pass for the truth if the answer
        # were cut short.
        known = {
            "usage": _usage(self._usage)._replace(output=None, thinking=None),
            "model": message.model,
            "response_id": message.id,
        }
        self._extra = {name: value for name, value in known.items() if value is not None}

    def _read_start(self, said: _Event, data: bytes, chunks: list[Chunk]) -> None:
        block = Block(said.content_block or {})
        self._blocks[said.index] = block
        if block.type == "tool_use":
            block.number = self._tools
            self._tools += 1
            chunks.append(self._chunk("tool_use", "", **block.call("")))
        elif block.type == "text":
            self._add_text(block, "content", block.start.get("text"), chunks)
        elif block.type == "thinking":
            self._add_text(block, "thinking", block.start.get("thinking"), chunks)
            self._add_signature(block, said.index, block.start.get("signature"), chunks)
        elif block.type == "redacted_thinking":
            sealed = {"index": said.index, "data": block.start.get("data")}
            chunks.append(self._chunk("redacted_thinking", "", **sealed))
        else:
            chunks.append(self._raw(data))

    def _read_delta(self, said: _Event, data: bytes, chunks: list[Chunk]) -> None:
        delta = said.delta or _Delta()
        block = self._blocks.get(said.index)
        if block is None:  # a server that forgets to start its blocks
            kinds = {"thinking_delta": "thinking", "signature_delta": "thinking"}
            block = Block({"type": kinds.get(delta.type or "", "text")})
            self._blocks[said.index] = block
        if delta.type == "text_delta":
            self._add_text(block, "content", delta.text, chunks)
        elif delta.type == "thinking_delta":
            self._add_text(block, "thinking", delta.thinking, chunks)
        elif delta.type == "signature_delta":
            self._add_signature(block, said.index, delta.signature, chunks)
        elif delta.type == "input_json_delta":
            part = delta.partial_json or ""
            block.json.append(part)
            if block.type != "tool_use":
                chunks.append(self._raw(data))
            elif part:
                chunks.append(self._chunk("tool_use", part, **block.call(part)))
        elif delta.type is not None:
            block.add_other(_again(data).get("delta"))
            chunks.append(self._raw(data))

    def _read_stop(self, index: int, chunks: list[Chunk]) -> None:
        block = self._blocks.get(index)
        whole = block.whole_input() if block is not None and block.type == "tool_use" else None
        if block is not None and whole:  # a server that sends the arguments in one piece
            block.json.append(whole)
            chunks.append(self._chunk("tool_use", whole, **block.call(whole)))

    def _add_text(self, block: Block, type_: str, text: Any, chunks: list[Chunk]) -> None:
        if isinstance(text, str) and text:
            block.text.append(text)
            chunks.append(self._chunk(type_, text))

    def _add_signature(self, block: Block, index: int, signature: Any, chunks: list[Chunk]) -> None:
        if isinstance(signature, str) and signature:
            block.signature += signature
            chunks.append(self._chunk("thinking", "", signature=signature, index=index))

    def _chunk(self, type_: str, content: Any, **metadata: Any) -> Chunk:
        """Make a chunk; the first of an answer says what is known of the whole."""
        self._begun = True
        extra, self._extra = self._extra, _NOTHING
        return Chunk(type_, content, {**extra, **metadata} if metadata else extra)

    def _raw(self, data: bytes) -> Chunk:
        event = _again(data)
        return self._chunk("raw", event, event=event.get("type"))

    def _count(self, usage: Mapping[str, Any] | None) -> None:
        if usage is not None:
            self._usage.update({name: n for name, n in usage.items() if n is not None})


def _again(data: bytes) -> dict[str, Any]:
    """Decode an event once more, with all the fields that only few are interested in."""
    return cast("dict[str, Any]", msgspec.json.decode(data))


def _usage(said: Mapping[str, Any]) -> Usage:
    """Read the counts; the input is what was billed as such, from the cache or not."""
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    inputs = [said[name] for name in names if isinstance(said.get(name), int)]
    details: object = said.get("output_tokens_details")
    thinking: object = None
    if isinstance(details, dict):
        thinking = cast("Mapping[str, Any]", details).get("thinking_tokens")
    output = said.get("output_tokens")
    return Usage(
        input=sum(inputs) if inputs else None,
        output=output if isinstance(output, int) else None,
        thinking=thinking if isinstance(thinking, int) else None,
    )
