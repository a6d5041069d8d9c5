"""The OpenAI Responses dialect from the server's side: pure, objects in and bytes out.

Reference: OpenAI API, "Responses", streaming events.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from puckstream.testing.dialect import (
    Asked,
    BadRequest,
    asked,
    call_id,
    event,
    fields_of,
    objects_in,
    text_of,
)
from puckstream.testing.script import Fault, Piece, Script

__all__ = ["ResponsesDialect"]

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_DELTAS = {
    "thinking": "reasoning_summary_text",
    "content": "output_text",
    "refusal": "refusal",
    "tool": "function_call_arguments",
}


@dataclass(frozen=True)
class ResponsesDialect:
    """OpenAI's ``/v1/responses``."""

    name: str = "openai-responses"
    path: str = "/responses"
    media: str = "text/event-stream; charset=utf-8"

    def read(self, body: bytes) -> Asked:
        """Decode a request's body.

        Raises:
            BadRequest: if it is not what the API takes.
        """
        fields = fields_of(body)
        turns = [("system", str(fields.get("instructions") or ""))]
        if isinstance(fields.get("input"), str):
            turns.append(("user", fields["input"]))
            return asked(fields, turns, stream=bool(fields.get("stream")))
        called: set[object] = set()
        for number, item in enumerate(objects_in(fields, "input", "type", "role")):
            if item.get("type") == "function_call":
                called.add(item.get("call_id"))
            if item.get("type") == "function_call_output" and item.get("call_id") not in called:
                msg = f"input[{number}]: no tool call found for {item.get('call_id')!r}"
                raise BadRequest(msg)
            said = text_of(item.get("content", item.get("output")))
            turns.append((str(item.get("role", "")), said))
        return asked(fields, turns, stream=bool(fields.get("stream")))

    def reply(self, asked: Asked, script: Script, id: str, created: int) -> ResponsesReply:
        """Return what spells the answer of request ``id``."""
        return ResponsesReply(asked, script, id, created)

    def error(self, message: str, kind: str) -> bytes:
        """Return an error as the API spells it."""
        error = {"message": message, "type": kind, "param": None, "code": None}
        return json.dumps({"error": error}).encode()


class ResponsesReply:
    """Spells one answer, item by item."""

    def __init__(self, request: Asked, script: Script, id: str, created: int) -> None:
        self._request = request
        self._script = script
        self._id = id
        self._created = created
        self._items: list[dict[str, Any]] = []
        self._open: tuple[str, int] | None = None
        self._text = ""
        self._number = 0

    def opening(self) -> bytes:
        """Return the head of the response."""
        response = self._response("in_progress")
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def piece(self, piece: Piece) -> bytes:
        """Return the delta that adds ``piece``, and the end and start of items before it."""
        before = b""
        if self._open != (piece.kind, piece.call):
            before = self._close() + self._start(piece.kind, piece.call)
        self._text += piece.text
        more: dict[str, Any] = {"logprobs": []} if piece.kind == "content" else {}
        kind = f"response.{_DELTAS[piece.kind]}.delta"
        return before + self._of_part(kind, delta=piece.text, **more)

    def ending(self, pieces: Sequence[Piece]) -> Iterable[bytes]:
        """Return what ends the stream: the last item's end, and the whole response."""
        yield self._close()
        status = "incomplete" if self._script.ending in _INCOMPLETE else "completed"
        yield self._event(f"response.{status}", response=self._response(status, pieces))

    def fault(self, fault: Fault) -> bytes:
        """Return the event of an ``error``, or a ``malformed`` one."""
        if fault.kind == "error":
            return self._event("error", code=fault.type, message=fault.message, param=None)
        return self._event("response.output_text.delta", delta=fault.message)[:-20] + b"\n\n"

    def whole(self, pieces: Sequence[Piece]) -> bytes:
        """Return the whole answer as one object."""
        for piece in pieces:
            self.piece(piece)
        self._close()
        status = "incomplete" if self._script.ending in _INCOMPLETE else "completed"
        return json.dumps(self._response(status, pieces)).encode()

    def _start(self, kind: str, call: int) -> bytes:
        item: dict[str, Any]
        if kind == "thinking":
            item = {"id": f"rs_{self._id}", "type": "reasoning", "summary": []}
        elif kind == "tool":
            spec = self._script.tool_calls[call]
            known = {"call_id": call_id(self._script, call), "name": spec.name, "arguments": ""}
            item = {"id": f"fc_{call}", "type": "function_call", "status": "in_progress", **known}
        else:
            item = {"id": f"msg_{self._id}_{kind}", "type": "message", "role": "assistant"}
            item |= {"status": "in_progress", "content": []}
        self._open, self._text = (kind, call), ""
        self._items.append(item)
        index = len(self._items) - 1
        added = self._event("response.output_item.added", output_index=index, item=item)
        return added + self._part(kind, "added")

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        kind, text = self._open[0], self._text
        named = {"thinking": "text", "content": "text", "refusal": "refusal", "tool": "arguments"}
        more: dict[str, Any] = {"logprobs": []} if kind == "content" else {}
        item = self._items[-1]
        if kind == "tool":
            more = {"name": item["name"]}
        done = self._of_part(f"response.{_DELTAS[kind]}.done", **{named[kind]: text}, **more)
        done += self._part(kind, "done")
        finished = {"status": "completed"} if kind != "thinking" else {}
        if kind == "tool":
            finished["arguments"] = text
        else:
            item["summary" if kind == "thinking" else "content"] = [_part(kind, text)]
        item |= finished
        self._open = None
        index = len(self._items) - 1
        return done + self._event("response.output_item.done", output_index=index, item=item)

    def _part(self, kind: str, what: str) -> bytes:
        if kind == "tool":
            return b""
        family = "reasoning_summary_part" if kind == "thinking" else "content_part"
        return self._of_part(f"response.{family}.{what}", part=_part(kind, self._text))

    def _of_part(self, type_: str, **fields: Any) -> bytes:
        """Return an event about the part that is open."""
        place = {"item_id": self._items[-1]["id"], "output_index": len(self._items) - 1}
        kind = self._open[0] if self._open else ""
        if kind == "thinking":
            place["summary_index"] = 0
        elif kind != "tool":
            place["content_index"] = 0
        return self._event(type_, **place, **fields)

    def _event(self, type_: str, **fields: Any) -> bytes:
        number, self._number = self._number, self._number + 1
        return event({"type": type_, "sequence_number": number, **fields}, type_)

    def _response(self, status: str, pieces: Sequence[Piece] | None = None) -> dict[str, Any]:
        reason = _INCOMPLETE.get(self._script.ending) if status == "incomplete" else None
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": None if reason is None else {"reason": reason},
            "instructions": None,
            "metadata": {},
            "model": self._request.model,
            "output": list(self._items),
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": None if pieces is None else self._usage(pieces),
        }

    def _usage(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        prompt = self._script.prompt_tokens
        prompt = self._request.words if prompt is None else prompt
        output = sum(piece.tokens for piece in pieces)
        thinking = sum(piece.tokens for piece in pieces if piece.kind == "thinking")
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": thinking},
            "total_tokens": prompt + output,
        }


def _part(kind: str, text: str) -> dict[str, Any]:
    if kind == "thinking":
        return {"type": "summary_text", "text": text}
    if kind == "refusal":
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
