"""The Anthropic Messages dialect from the server's side: pure, objects in and bytes out.

It is as strict as the API about what clients get wrong: ``max_tokens`` must be there, thinking must
come back with the signature it was sent with, and results of tools must answer a call.

Reference: Anthropic API, "Messages", "Streaming messages", "Errors".
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from puckstream.testing.dialect import (
    Asked,
    BadRequest,
    arguments_of,
    asked,
    call_id,
    event,
    fields_of,
    objects_in,
    text_of,
)
from puckstream.testing.script import Fault, Piece, Script

__all__ = ["MessagesDialect", "signature_of"]

_REASONS = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "content_filter": "refusal",
}


def signature_of(thinking: str) -> str:
    """Return the signature that this model puts under what it thought."""
    return base64.b64encode(hashlib.sha256(thinking.encode()).digest()).decode()


@dataclass(frozen=True)
class MessagesDialect:
    """Anthropic's ``/v1/messages``."""

    name: str = "anthropic"
    path: str = "/messages"
    media: str = "text/event-stream; charset=utf-8"

    def read(self, body: bytes) -> Asked:
        """Decode a request's body.

        Raises:
            BadRequest: if it is not what the API takes.
        """
        fields = fields_of(body)
        messages = objects_in(fields, "messages", "role")
        if not isinstance(fields.get("max_tokens"), int):
            msg = "max_tokens: Field required"
            raise BadRequest(msg)
        turns = [("system", text_of(fields.get("system")))]
        called: set[object] = set()
        for number, message in enumerate(messages):
            content: Any = message.get("content")
            blocks: list[Mapping[str, Any]] = [] if isinstance(content, str) else content or []
            for place, block in enumerate(blocks):
                _check(block, called, f"messages.{number}.content.{place}")
            called = {block.get("id") for block in blocks if block.get("type") == "tool_use"}
            turns.append((str(message["role"]), text_of(content)))
        return asked(fields, turns, stream=bool(fields.get("stream")))

    def reply(self, asked: Asked, script: Script, id: str, created: int) -> MessagesReply:
        """Return what spells the answer of request ``id``."""
        del created
        return MessagesReply(asked, script, id)

    def error(self, message: str, kind: str) -> bytes:
        """Return an error as the API spells it."""
        return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()


class MessagesReply:
    """Spells one answer, block by block."""

    def __init__(self, request: Asked, script: Script, id: str) -> None:
        self._request = request
        self._script = script
        self._id = f"msg_{id}"
        self._blocks: list[dict[str, Any]] = []
        self._open: tuple[str, int] | None = None

    def opening(self) -> bytes:
        """Return the head of the message, and a ping."""
        usage = {"input_tokens": self._prompt(), "output_tokens": 1}
        head = self._message([], None, usage)
        return _event("message_start", message=head) + _event("ping")

    def piece(self, piece: Piece) -> bytes:
        """Return the delta that adds ``piece``, and the end and start of blocks before it."""
        kind = "content" if piece.kind == "refusal" else piece.kind
        before = b""
        if self._open != (kind, piece.call):
            before = self._close() + self._start(kind, piece.call)
        block = self._blocks[-1]
        if kind == "thinking":
            block["thinking"] += piece.text
            return before + self._delta(type="thinking_delta", thinking=piece.text)
        if kind == "content":
            block["text"] += piece.text
            return before + self._delta(type="text_delta", text=piece.text)
        block["input"] += piece.text
        return before + self._delta(type="input_json_delta", partial_json=piece.text)

    def ending(self, pieces: Sequence[Piece]) -> Iterable[bytes]:
        """Return what ends the stream: the last block's end, the stop reason, the usage."""
        yield self._close()
        delta = {"stop_reason": self._reason(), "stop_sequence": None}
        yield _event("message_delta", delta=delta, usage=self._usage(pieces))
        yield _event("message_stop")

    def fault(self, fault: Fault) -> bytes:
        """Return the event of an ``error``, or a ``malformed`` one."""
        if fault.kind == "error":
            error = MessagesDialect().error(fault.message, fault.type)
            return b"event: error\ndata: " + error + b"\n\n"
        return _event("content_block_delta", index=0, delta={"text": fault.message})[:-20] + b"\n\n"

    def whole(self, pieces: Sequence[Piece]) -> bytes:
        """Return the whole answer as one object."""
        for piece in pieces:
            self.piece(piece)
        self._close()
        calls = iter(self._script.tool_calls)
        for block in self._blocks:
            if block["type"] == "tool_use":
                block["input"] = arguments_of(next(calls))
        message = self._message(self._blocks, self._reason(), self._usage(pieces))
        return json.dumps(message).encode()

    def _start(self, kind: str, call: int) -> bytes:
        block: dict[str, Any] = {"type": "text", "text": ""}
        if kind == "thinking":
            block = {"type": "thinking", "thinking": "", "signature": ""}
        elif kind == "tool":
            name, id_ = self._script.tool_calls[call].name, call_id(self._script, call)
            block = {"type": "tool_use", "id": id_, "name": name, "input": {}}
        self._open = (kind, call)
        index = len(self._blocks)
        self._blocks.append({**block, "input": ""} if kind == "tool" else block)
        return _event("content_block_start", index=index, content_block=block)

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        signed = b""
        if self._open[0] == "thinking":
            signature = signature_of(self._blocks[-1]["thinking"])
            self._blocks[-1]["signature"] = signature
            signed = self._delta(type="signature_delta", signature=signature)
        self._open = None
        return signed + _event("content_block_stop", index=len(self._blocks) - 1)

    def _delta(self, **delta: Any) -> bytes:
        return _event("content_block_delta", index=len(self._blocks) - 1, delta=delta)

    def _message(
        self, content: list[dict[str, Any]], reason: str | None, usage: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._request.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": usage,
        }

    def _reason(self) -> str:
        ending = self._script.ending
        return "refusal" if self._script.refusal else _REASONS.get(ending, ending)

    def _prompt(self) -> int:
        prompt = self._script.prompt_tokens
        return self._request.words if prompt is None else prompt

    def _usage(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        thinking = sum(piece.tokens for piece in pieces if piece.kind == "thinking")
        return {
            "input_tokens": self._prompt(),
            "output_tokens": sum(piece.tokens for piece in pieces),
            "output_tokens_details": {"thinking_tokens": thinking},
        }


def _check(block: Mapping[str, Any], called: set[object], place: str) -> None:
    if block.get("type") == "thinking" and (
        block.get("signature") != signature_of(str(block.get("thinking")))
    ):
        msg = f"{place}: Invalid `signature` in `thinking` block"
        raise BadRequest(msg)
    if block.get("type") == "tool_result" and block.get("tool_use_id") not in called:
        msg = f"{place}: unexpected `tool_use_id`: {block.get('tool_use_id')}"
        raise BadRequest(msg)


def _event(type_: str, **fields: Any) -> bytes:
    return event({"type": type_, **fields}, type_)
