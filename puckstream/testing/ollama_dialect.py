"""Ollama's native chat dialect from the server's side: pure, objects in and bytes out.

Reference: Ollama API, "Generate a chat message".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from puckstream.testing.dialect import Asked, arguments_of, asked, fields_of, objects_in
from puckstream.testing.script import Fault, Piece, Script

__all__ = ["OllamaDialect"]


@dataclass(frozen=True)
class OllamaDialect:
    """Ollama's ``/api/chat``."""

    name: str = "ollama"
    path: str = "/api/chat"
    media: str = "application/x-ndjson"

    def read(self, body: bytes) -> Asked:
        """Decode a request's body; it is streamed unless it says otherwise.

        Raises:
            BadRequest: if it is not what the API takes.
        """
        fields = fields_of(body)
        messages = objects_in(fields, "messages", "role")
        turns = [(str(m["role"]), str(m.get("content") or "")) for m in messages]
        return asked(fields, turns, stream=fields.get("stream") is not False)

    def reply(self, asked: Asked, script: Script, id: str, created: int) -> OllamaReply:
        """Return what spells the answer."""
        del id  # the dialect has none
        return OllamaReply(asked, script, created)

    def error(self, message: str, kind: str) -> bytes:
        """Return an error as the API spells it."""
        del kind
        return json.dumps({"error": message}).encode()


class OllamaReply:
    """Spells one answer, as lines or as one object. Tool calls come whole."""

    def __init__(self, request: Asked, script: Script, created: int) -> None:
        self._request = request
        self._script = script
        when = datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")
        self._head = {"model": request.model, "created_at": when}
        self._arguments: dict[int, str] = {}

    def opening(self) -> bytes:
        """Return nothing: the first line is a piece."""
        return b""

    def piece(self, piece: Piece) -> bytes:
        """Return the line that adds ``piece``; for a tool call, once it is complete."""
        if piece.kind == "thinking":
            return self._line({"content": "", "thinking": piece.text})
        if piece.kind != "tool":
            return self._line({"content": piece.text})
        arguments = self._arguments.get(piece.call, "") + piece.text
        self._arguments[piece.call] = arguments
        if arguments != self._script.tool_calls[piece.call].arguments:
            return b""
        return self._line({"content": "", "tool_calls": [self._call(piece.call)]})

    def ending(self, pieces: Sequence[Piece]) -> Iterable[bytes]:
        """Return the last line, with ``done: true``."""
        yield self._line({"content": ""}, **self._done(pieces))

    def fault(self, fault: Fault) -> bytes:
        """Return the line of an ``error``, or a ``malformed`` one."""
        if fault.kind == "error":
            return OllamaDialect().error(fault.message, fault.type) + b"\n"
        return self._line({"content": fault.message})[:-20] + b"\n"

    def whole(self, pieces: Sequence[Piece]) -> bytes:
        """Return the whole answer as one object."""
        message: dict[str, Any] = {"content": _text(pieces, "content", "refusal")}
        if self._script.thinking:
            message["thinking"] = _text(pieces, "thinking")
        if self._script.tool_calls:
            calls = range(len(self._script.tool_calls))
            message["tool_calls"] = [self._call(number) for number in calls]
        return self._line(message, **self._done(pieces))

    def _call(self, number: int) -> dict[str, Any]:
        call = self._script.tool_calls[number]
        function = {"index": number, "name": call.name, "arguments": arguments_of(call)}
        return {"function": function}

    def _done(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        prompt = self._script.prompt_tokens
        ending = self._script.ending
        return {
            "done": True,
            "done_reason": "stop" if ending == "tool_calls" else ending,
            "total_duration": 5_000_000,
            "load_duration": 1_000_000,
            "prompt_eval_count": self._request.words if prompt is None else prompt,
            "prompt_eval_duration": 1_000_000,
            "eval_count": sum(piece.tokens for piece in pieces),
            "eval_duration": 3_000_000,
        }

    def _line(self, message: Mapping[str, Any], **more: Any) -> bytes:
        said = {"role": "assistant", **message}
        return json.dumps({**self._head, "message": said, "done": False, **more}).encode() + b"\n"


def _text(pieces: Sequence[Piece], *kinds: str) -> str:
    return "".join(piece.text for piece in pieces if piece.kind in kinds)
