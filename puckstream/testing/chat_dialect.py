"""The OpenAI chat-completions dialect from the server's side: pure, objects in and bytes out.

Reference: OpenAI API, "Chat Completions".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from puckstream.testing.dialect import Asked, asked, call_id, event, fields_of, objects_in, text_of
from puckstream.testing.script import Fault, Piece, Script

__all__ = ["ChatDialect"]


@dataclass(frozen=True)
class ChatDialect:
    """OpenAI's chat completions."""

    name: str = "openai"
    path: str = "/chat/completions"
    media: str = "text/event-stream; charset=utf-8"

    def read(self, body: bytes) -> Asked:
        """Decode a request's body.

        Raises:
            BadRequest: if it is not what the API takes.
        """
        fields = fields_of(body)
        messages = objects_in(fields, "messages", "role")
        options = cast("Mapping[str, Any]", fields.get("stream_options") or {})
        return asked(
            fields,
            [(str(message["role"]), text_of(message.get("content"))) for message in messages],
            stream=bool(fields.get("stream")),
            include_usage=bool(options.get("include_usage")),
        )

    def reply(self, asked: Asked, script: Script, id: str, created: int) -> ChatReply:
        """Return what spells the answer of request ``id``."""
        return ChatReply(asked, script, id, created)

    def error(self, message: str, kind: str) -> bytes:
        """Return an error as the API spells it."""
        error = {"message": message, "type": kind, "param": None, "code": None}
        return json.dumps({"error": error}).encode()


class ChatReply:
    """Spells one answer, as a stream of chunks or as one object."""

    def __init__(self, request: Asked, script: Script, id: str, created: int) -> None:
        self._request = request
        self._script = script
        self._head = {"id": f"chatcmpl-{id}", "created": created, "model": request.model}

    def opening(self) -> bytes:
        """Return the first chunk, which names the role."""
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, piece: Piece) -> bytes:
        """Return the chunk that adds ``piece``."""
        if piece.kind == "thinking":
            return self._chunk({self._script.thinking_field: piece.text})
        if piece.kind != "tool":
            return self._chunk({piece.kind: piece.text})
        call: dict[str, Any] = {"index": piece.call, "function": {"arguments": piece.text}}
        if piece.first:
            spec = self._script.tool_calls[piece.call]
            call |= {"id": call_id(self._script, piece.call), "type": "function"}
            call["function"]["name"] = spec.name
        return self._chunk({"tool_calls": [call]})

    def ending(self, pieces: Sequence[Piece]) -> Iterable[bytes]:
        """Return what ends the stream: finish reason, usage if it was asked for, ``[DONE]``."""
        yield self._chunk({}, self._script.ending)
        if self._request.include_usage:
            yield event({**self._of("chat.completion.chunk"), "choices": [], **self._usage(pieces)})
        yield b"data: [DONE]\n\n"

    def fault(self, fault: Fault) -> bytes:
        """Return the event of an ``error`` or a ``malformed`` chunk."""
        if fault.kind == "error":
            return b"data: " + ChatDialect().error(fault.message, fault.type) + b"\n\n"
        return self._chunk({"content": fault.message})[:-20] + b"\n\n"

    def whole(self, pieces: Sequence[Piece]) -> bytes:
        """Return the whole answer as one object."""
        text = {
            kind: "".join(piece.text for piece in pieces if piece.kind == kind)
            for kind in ("content", "thinking", "refusal")
        }
        message: dict[str, Any] = {"role": "assistant", "content": text["content"] or None}
        message["refusal"] = text["refusal"] or None
        if text["thinking"]:
            message[self._script.thinking_field] = text["thinking"]
        if self._script.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call_id(self._script, number),
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for number, call in enumerate(self._script.tool_calls)
            ]
        choice = {"index": 0, "message": message, "finish_reason": self._script.ending}
        whole = {**self._of("chat.completion"), "choices": [choice], **self._usage(pieces)}
        return json.dumps(whole).encode()

    def _of(self, kind: str) -> dict[str, Any]:
        return {**self._head, "object": kind}

    def _chunk(self, delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return event({**self._of("chat.completion.chunk"), "choices": [choice]})

    def _usage(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        prompt = self._script.prompt_tokens
        prompt = self._request.words if prompt is None else prompt
        output = sum(piece.tokens for piece in pieces)
        thinking = sum(piece.tokens for piece in pieces if piece.kind == "thinking")
        return {
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": output,
                "total_tokens": prompt + output,
                "completion_tokens_details": {"reasoning_tokens": thinking},
            }
        }
