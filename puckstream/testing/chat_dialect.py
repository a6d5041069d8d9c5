"""The OpenAI chat-completions dialect from the server's side: pure, objects in and bytes out.

Reference: OpenAI API, "Chat Completions".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from puckstream.testing.script import Fault, Piece, Script

__all__ = ["BadRequest", "ChatReply", "ChatRequest", "error_body"]


class BadRequest(Exception):
    """The request is none of this dialect; the message is for the client."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What of a request matters to a script."""

    model: str
    stream: bool
    include_usage: bool
    said: str
    """What the user said last."""
    words: int
    """Words in all messages, which stand in for the tokens of the prompt."""

    @classmethod
    def read(cls, body: bytes) -> ChatRequest:
        """Decode a request's body.

        Raises:
            BadRequest: if it is not what the API takes.
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
        model, messages = fields.get("model"), fields.get("messages")
        if not isinstance(model, str):
            msg = "'model' must be a string"
            raise BadRequest(msg)
        if not isinstance(messages, list) or not messages:
            msg = "'messages' must be a list with at least one message"
            raise BadRequest(msg)
        turns: list[tuple[str, str]] = []
        for message in cast("list[object]", messages):
            if not isinstance(message, dict) or "role" not in message:
                msg = "every message must be an object with a 'role'"
                raise BadRequest(msg)
            turn = cast("Mapping[str, Any]", message)
            turns.append((str(turn["role"]), _text(turn.get("content"))))
        options = cast("Mapping[str, Any]", fields.get("stream_options") or {})
        return cls(
            model=model,
            stream=bool(fields.get("stream")),
            include_usage=bool(options.get("include_usage")),
            said=next((text for role, text in reversed(turns) if role == "user"), ""),
            words=sum(len(text.split()) for _, text in turns),
        )


def _text(content: object) -> str:
    """Return the text of a message, whose content may be a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = cast("list[Mapping[str, Any]]", content)
    return " ".join(str(part["text"]) for part in parts if "text" in part)


class ChatReply:
    """Spells one answer, as a stream of chunks or as one object."""

    def __init__(self, request: ChatRequest, script: Script, id: str, created: int) -> None:
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
            call |= {"id": self._call_id(piece.call), "type": "function"}
            call["function"]["name"] = spec.name
        return self._chunk({"tool_calls": [call]})

    def ending(self, pieces: Sequence[Piece]) -> Iterable[bytes]:
        """Return what ends the stream: finish reason, usage if it was asked for, ``[DONE]``."""
        yield self._chunk({}, self._script.ending)
        if self._request.include_usage:
            yield _event(
                {**self._of("chat.completion.chunk"), "choices": [], **self._usage(pieces)}
            )
        yield b"data: [DONE]\n\n"

    def fault(self, fault: Fault) -> bytes:
        """Return the event of an ``error`` or a ``malformed`` chunk."""
        if fault.kind == "error":
            return b"data: " + error_body(fault.message, fault.type) + b"\n\n"
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
                    "id": self._call_id(number),
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

    def _call_id(self, number: int) -> str:
        return self._script.tool_calls[number].id or f"call_{number + 1}"

    def _chunk(self, delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return _event({**self._of("chat.completion.chunk"), "choices": [choice]})

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


def error_body(message: str, kind: str) -> bytes:
    """Return an error as the API spells it."""
    error = {"message": message, "type": kind, "param": None, "code": None}
    return json.dumps({"error": error}).encode()


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"
