"""What the scripted model says, how fast, and what goes wrong: pure data.

A script is a frozen value, written in Python, JSON or TOML. A file holds one script (the fields
of `Script`), a list of scripts that are used in turn, or ``scripts``: a table of either by name::

    [scripts.slow]
    text = "One word at a time."
    rate = 5

    [[scripts.flaky]]
    fault = { kind = "status", status = 429, retry_after = 1 }
    [[scripts.flaky]]
    text = "At the second attempt."
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

from puckstream.errors import InvalidOption

__all__ = ["Fault", "FaultKind", "Piece", "Script", "ToolCall", "load_scripts"]

FaultKind = Literal["status", "stall", "cut", "error", "malformed"]
"""``status``: refuse with an HTTP status. ``stall``: fall silent for ever. ``cut``: drop the TCP
connection. ``error``: an error object in the stream, after HTTP 200. ``malformed``: a chunk that
is no JSON, and then the rest."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool: ``arguments`` is the JSON text the model writes."""

    name: str
    arguments: str = "{}"
    id: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, and when.

    Args:
        kind: see `FaultKind`.
        after: how many tokens go out before; ``None`` is before the response's head.
        status: the HTTP status of ``status``.
        message: what the error says.
        type: the error's type, e.g. ``overloaded_error``.
        retry_after: seconds for the ``Retry-After`` header, if any.

    Raises:
        InvalidOption: if a value cannot work.
    """

    kind: FaultKind
    after: int | None = 0
    status: int = 500
    message: str = "the script says so"
    type: str = "server_error"
    retry_after: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise InvalidOption("fault.kind", self.kind, f"one of {', '.join(get_args(FaultKind))}")
        if self.after is None and self.kind in ("error", "malformed"):
            raise InvalidOption("fault.after", None, f"{self.kind} is a chunk, after the head")
        if self.after is not None and self.after < 0:
            raise InvalidOption("fault.after", self.after, "a number of tokens, or None")
        if self.status not in range(400, 600):
            raise InvalidOption("fault.status", self.status, "an HTTP status from 400 to 599")

    @property
    def before_head(self) -> bool:
        """Whether it strikes before the response's head."""
        return self.after is None or self.kind == "status"


@dataclass(frozen=True, slots=True)
class Piece:
    """What one chunk of the stream adds: ``tokens`` tokens of one kind."""

    kind: Literal["thinking", "content", "refusal", "tool"]
    text: str
    tokens: int = 1
    call: int = 0
    """For ``tool``: which call. The first piece of a call brings its name and no text."""
    first: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """One answer of the scripted model.

    Args:
        text: what it says. A token is a word with the blanks after it.
        echo: say what the user said last, instead of ``text``.
        thinking: what it thinks before it speaks.
        thinking_field: the field it thinks in: ``reasoning_content`` (llama.cpp, DeepSeek) or
            ``reasoning`` (vLLM, Ollama).
        refusal: what it says in refusal, after ``text``.
        tool_calls: the tools it calls at the end.
        rate: tokens per second; 0 is as fast as the client reads.
        delay_head: seconds before the response's head.
        delay: seconds from the head to the first token.
        chunk: tokens per chunk of the stream.
        finish_reason: default ``tool_calls`` or ``stop``.
        prompt_tokens: what it counts as input; default the words of the messages.
        fault: what goes wrong.

    Raises:
        InvalidOption: if a value cannot work.
    """

    text: str = ""
    echo: bool = False
    thinking: str = ""
    thinking_field: str = "reasoning_content"
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    rate: float = 0.0
    delay_head: float = 0.0
    delay: float = 0.0
    chunk: int = 1
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    fault: Fault | None = None

    def __post_init__(self) -> None:
        for name in ("rate", "delay_head", "delay"):
            value: float = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise InvalidOption(name, value, "a number ≥ 0")
        if self.chunk < 1:
            raise InvalidOption("chunk", self.chunk, "at least one token")

    @property
    def ending(self) -> str:
        """The finish reason."""
        return self.finish_reason or ("tool_calls" if self.tool_calls else "stop")

    def pieces(self, said: str = "") -> tuple[Piece, ...]:
        """Return everything the answer consists of, in order.

        Args:
            said: what the user said last.
        """
        return (
            *_pieces("thinking", self.thinking, self.chunk),
            *_pieces("content", said if self.echo else self.text, self.chunk),
            *_pieces("refusal", self.refusal, self.chunk),
            *(piece for n, call in enumerate(self.tool_calls) for piece in _call(n, call)),
        )

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Script:
        """Make a script of decoded JSON or TOML.

        Raises:
            InvalidOption: if a field is unknown or has an impossible value.
        """
        values = _checked(cls, said)
        if "tool_calls" in values:
            calls = cast("Sequence[Mapping[str, Any]]", values["tool_calls"])
            values["tool_calls"] = tuple(_tool_call(call) for call in calls)
        if isinstance(values.get("fault"), Mapping):
            values["fault"] = Fault(**_checked(Fault, values["fault"]))
        return cls(**values)


def load_scripts(path: Path) -> dict[str, tuple[Script, ...]]:
    """Read a ``.json`` or ``.toml`` file: scripts by name, ``""`` for those without one.

    Raises:
        InvalidOption: if the file cannot be read as scripts.
    """
    try:
        text = path.read_text("utf-8")
        said: object = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:  # both decoders raise a ValueError
        raise InvalidOption("script", str(path), f"a readable file: {error}") from error
    named = _named(said)
    if named is None:
        return {"": _in_turn(said)}
    return {name: _in_turn(one) for name, one in named.items()}


def _named(said: object) -> Mapping[str, object] | None:
    """Return the table of scripts by name, if the file has one."""
    if not isinstance(said, dict):
        return None
    named = cast("Mapping[str, object]", said).get("scripts")
    return cast("Mapping[str, object]", named) if isinstance(named, dict) else None


def _in_turn(said: object) -> tuple[Script, ...]:
    each = cast("list[object]", said) if isinstance(said, list) else [said]
    for one in each:
        if not isinstance(one, dict):
            raise InvalidOption("script", one, "an object with the fields of a script")
    if not each:
        raise InvalidOption("script", [], "at least one script")
    return tuple(Script.read(cast("Mapping[str, Any]", one)) for one in each)


def _checked(cls: type[Script | Fault | ToolCall], said: Mapping[str, Any]) -> dict[str, Any]:
    known = [field.name for field in fields(cls)]
    for name in said:
        if name not in known:
            raise InvalidOption(cls.__name__.lower(), name, f"the fields are {', '.join(known)}")
    return dict(said)


def _tool_call(said: Mapping[str, Any]) -> ToolCall:
    values = _checked(ToolCall, said)
    if "arguments" in values and not isinstance(values["arguments"], str):
        values["arguments"] = json.dumps(values["arguments"])
    return ToolCall(**values)


def _pieces(
    kind: Literal["thinking", "content", "refusal"], text: str, chunk: int
) -> Iterator[Piece]:
    tokens = re.findall(r"\S+\s*|\s+", text)
    for first in range(0, len(tokens), chunk):
        together = tokens[first : first + chunk]
        yield Piece(kind, "".join(together), len(together))


def _call(number: int, call: ToolCall) -> Iterator[Piece]:
    yield Piece("tool", "", 1, number, first=True)
    for part in re.findall(r".{1,8}", call.arguments, re.DOTALL):
        yield Piece("tool", part, 1, number)
