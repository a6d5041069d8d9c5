"""What a model answered, and how it is put together from chunks.

`ResponseBuilder` folds each chunk in constant time: deltas are kept in a list and joined when
somebody reads them. Its rules, by chunk type:

=========== =================================================================================
type        effect
=========== =================================================================================
content     a ``str`` is appended; anything else but ``None`` is a structured partial, and the
            last one wins; text and structure in one answer break the protocol
thinking    text, appended
tool_use    text, appended to the arguments of the call with that ``index`` (or ``id``)
finish      its metadata goes to the response's metadata
other       only its metadata is looked at
=========== =================================================================================

``usage``, ``model``, ``response_id`` and ``finish_reason`` are taken from any chunk that has them.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from puckstream.backends.base import Chunk, Usage
from puckstream.errors import StreamError
from puckstream.streams.plain import plain

__all__ = ["Response", "ResponseBuilder", "ToolCall"]

_CHARACTERS_PER_TOKEN = 4
_FROM_ANY_CHUNK = ("model", "response_id")
_KEPT_APART = frozenset({"finish_reason", "usage"})
_NO_USAGE = Usage()
_USAGE_NAMES = {
    "input": ("input", "input_tokens", "prompt_tokens"),
    "output": ("output", "output_tokens", "completion_tokens"),
    "thinking": ("thinking", "thinking_tokens", "reasoning_tokens"),
}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool the model asks for.

    Args:
        id: the provider's id of the call; empty where it gives none.
        name: the tool's name.
        arguments: the arguments as the model wrote them: JSON text, which may be cut short.
    """

    id: str
    name: str
    arguments: str = ""

    @property
    def parsed(self) -> dict[str, Any]:
        """The arguments as a dict; no arguments at all are an empty one.

        Raises:
            StreamError: of kind ``parse``, if the arguments are not a JSON object.
        """
        if not self.arguments.strip():
            return {}
        try:
            value = json.loads(self.arguments)
        except (ValueError, RecursionError) as error:
            problem = f"are not JSON: {error}"
            raise self._unreadable(problem) from error
        if not isinstance(value, dict):
            raise self._unreadable(problem="are not a JSON object")
        return cast("dict[str, Any]", value)

    def _unreadable(self, problem: str) -> StreamError:
        call = f"tool call {self.name!r} ({self.id})"
        shown = reprlib.repr(self.arguments)
        return StreamError("parse", f"the arguments of {call} {problem}; got {shown}")


@dataclass(frozen=True, slots=True)
class Response:
    """A model's complete answer.

    Args:
        content: the text, or the last structured partial.
        thinking: the text of the model's reasoning; empty where it showed none.
        tool_calls: the tools it asks for, in the order of their index.
        finish_reason: ``"stop"``, ``"length"``, ``"tool_calls"``, ``"content_filter"``, or a
            word of the provider's that is none of these.
        usage: the token counts; ``usage.estimated`` says whether they were counted here.
        metadata: whatever else the last chunk carried: ``model``, ``response_id``, …
    """

    content: Any = ""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Usage = _NO_USAGE
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def text(self) -> str:
        """The content as text: itself, or the structure as JSON."""
        return _as_text(self.content)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, ready for JSON."""
        return cast("dict[str, Any]", plain(self))


class _Call:
    """A tool call while its deltas arrive."""

    __slots__ = ("arguments", "id", "name", "order")

    def __init__(self, order: int) -> None:
        self.order = order
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []


class ResponseBuilder:
    """Folds the chunks of one answer into a `Response`.

    Adding a chunk costs the same however much text came before it. Reading the content joins what
    came since the last reading; a reader of every chunk should take the deltas instead.

    Args:
        input_chars: how many characters the request held, for the estimate of the input tokens;
            ``None`` leaves them unknown where the provider does not say.
    """

    __slots__ = (
        "_by_id",
        "_by_index",
        "_calls",
        "_chars",
        "_input_chars",
        "_metadata",
        "_struct",
        "_text",
        "_thinking",
        "_thinking_chars",
        "_usage",
        "finish_reason",
    )

    def __init__(self, *, input_chars: int | None = None) -> None:
        self._input_chars = input_chars
        self.reset()

    def reset(self) -> None:
        """Forget every chunk; a retry starts the answer anew."""
        self._text: list[str] = []
        self._struct: Any = None
        self._thinking: list[str] = []
        self._chars = 0
        self._thinking_chars = 0
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._usage: Usage | None = None
        self._metadata: dict[str, Any] = {}
        self.finish_reason: str | None = None

    def add(self, chunk: Chunk) -> None:
        """Fold ``chunk`` in; the builder is unchanged if this raises.

        Raises:
            StreamError: of kind ``protocol``, if the chunk mixes text and structured content, or
                if a thinking or tool_use chunk holds what cannot be joined.
        """
        type_, content, metadata = chunk
        if type_ == "content":
            self._add_content(content)
        elif type_ == "thinking":
            if isinstance(content, str):
                self._thinking.append(content)
                self._thinking_chars += len(content)
            elif content is not None:
                raise _broken(problem="a thinking chunk must hold text", content=content)
        elif type_ == "tool_use":
            self._add_tool_use(content, metadata)
        if metadata:
            self._learn(type_, metadata)

    @property
    def content(self) -> Any:
        """The content so far: text, or the last structured partial; ``""`` before either."""
        return _joined(self._text) if self._struct is None else self._struct

    @property
    def thinking(self) -> str:
        """The thinking so far."""
        return _joined(self._thinking)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls so far, by index; the arguments may still be incomplete."""
        calls = sorted(self._calls, key=lambda call: call.order)
        return tuple(ToolCall(call.id, call.name, _joined(call.arguments)) for call in calls)

    @property
    def model(self) -> str | None:
        """The model that answers, as the provider spells it, once a chunk has said so."""
        model = self._metadata.get("model")
        return None if model is None else str(model)

    @property
    def usage(self) -> Usage:
        """The token counts so far.

        What the provider said stands. The input and output counts it left out are estimated at
        one token for four characters begun, and then ``estimated`` is true. The output includes
        the thinking, as providers bill it. Without ``input_chars`` the input may stay ``None``.
        """
        said = self._usage or _NO_USAGE
        input_, output, thinking, estimated = said
        if input_ is None and self._input_chars is not None:
            input_, estimated = _tokens(self._input_chars), True
        if output is None:
            chars = self._chars + self._thinking_chars
            if self._struct is not None:
                chars += _struct_chars(self._struct)
            output, estimated = _tokens(chars), True
            if thinking is None:
                thinking = _tokens(self._thinking_chars)
        return Usage(input_, output, thinking, estimated)

    def build(self) -> Response:
        """Return the answer as it stands; more chunks may follow."""
        return Response(
            content=self.content,
            thinking=self.thinking,
            tool_calls=self.tool_calls,
            finish_reason=self.finish_reason,
            usage=self.usage,
            metadata=dict(self._metadata),
        )

    def _add_content(self, content: Any) -> None:
        if isinstance(content, str):
            if not content:
                return
            if self._struct is not None:
                raise _broken(problem="text cannot follow structured content", content=content)
            self._text.append(content)
            self._chars += len(content)
        elif content is not None:
            if self._text:
                raise _broken(problem="structured content cannot follow text", content=content)
            self._struct = content

    def _add_tool_use(self, content: Any, metadata: Mapping[str, Any]) -> None:
        delta: Any = metadata.get("arguments", content)
        if delta is None:
            delta = ""
        elif isinstance(delta, Mapping):
            # Some providers send the arguments whole and already decoded.
            delta = json.dumps(plain(cast("object", delta)))
        elif not isinstance(delta, str):
            raise _broken(problem="the arguments of a tool call must be text", content=delta)
        call = self._find_call(metadata.get("index"), str(metadata.get("id") or ""))
        call.name = call.name or str(metadata.get("name") or "")
        call.arguments.append(delta)
        self._chars += len(delta)

    def _find_call(self, index: object, id_: str) -> _Call:
        call: _Call | None
        if isinstance(index, int):
            call = self._by_index.get(index)
        elif id_:
            call = self._by_id.get(id_)
        else:
            call = self._calls[-1] if self._calls else None
        # Some OpenAI-compatible servers number every call 0: a new id is a new call.
        if call is None or (id_ and call.id and call.id != id_):
            call = _Call(index if isinstance(index, int) else len(self._calls))
            self._calls.append(call)
            if isinstance(index, int):
                self._by_index[index] = call
        if id_:
            call.id = id_
            self._by_id[id_] = call
        return call

    def _learn(self, type_: object, metadata: Mapping[str, Any]) -> None:
        if type_ == "finish":
            for name, value in metadata.items():
                if value is not None and name not in _KEPT_APART:
                    self._metadata[name] = value
        else:
            for name in _FROM_ANY_CHUNK:
                if metadata.get(name) is not None:
                    self._metadata[name] = metadata[name]
        if metadata.get("finish_reason") is not None:
            self.finish_reason = str(metadata["finish_reason"])
        said = _read_usage(metadata.get("usage"))
        if said is not None:
            self._usage = said if self._usage is None else _merged(self._usage, said)


def _broken(problem: str, content: object) -> StreamError:
    return StreamError("protocol", f"{problem}, and a chunk held {type(content).__name__}")


def _joined(parts: list[str]) -> str:
    if len(parts) > 1:
        parts[:] = ["".join(parts)]
    return parts[0] if parts else ""


def _as_text(content: object) -> str:
    return content if isinstance(content, str) else json.dumps(plain(content), ensure_ascii=False)


def _struct_chars(content: object) -> int:
    # The usage is part of every terminal event: no object of a user may keep it from being made.
    try:
        return len(_as_text(content))
    except Exception:  # noqa: BLE001
        return 0


def _tokens(chars: int) -> int:
    return -(-chars // _CHARACTERS_PER_TOKEN)


def _read_usage(value: object) -> Usage | None:
    if isinstance(value, Usage):
        return value
    if not isinstance(value, Mapping):
        return None
    counts = cast("Mapping[str, object]", value)
    found: dict[str, int] = {}
    for name, spellings in _USAGE_NAMES.items():
        for spelling in spellings:
            count = counts.get(spelling)
            if isinstance(count, int):
                found[name] = count
                break
    return Usage(**found, estimated=counts.get("estimated") is True) if found else None


def _merged(old: Usage, new: Usage) -> Usage:
    """Keep what ``new`` leaves out: some providers count the input first, the output last."""
    return Usage(
        old.input if new.input is None else new.input,
        old.output if new.output is None else new.output,
        old.thinking if new.thinking is None else new.thinking,
        old.estimated or new.estimated,
    )
