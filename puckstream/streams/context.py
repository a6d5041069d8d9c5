"""The conversation a stream continues."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeAlias, cast

from puckstream.errors import InvalidOption

if TYPE_CHECKING:
    from puckstream.backends.base import Message
    from puckstream.streams.response import Response, ToolCall

__all__ = ["Context", "Prompt", "check_prompt"]

Prompt: TypeAlias = str | Sequence[Mapping[str, Any]]
"""Text, or a list of content parts: ``[{"type": "text", "text": …}, {"type": "image_url", …}]``."""

_INSTRUCTING_ROLES = ("system", "developer")


class Context:
    """An immutable conversation, oldest message first.

    Every method that adds a turn returns a new context and leaves this one as it was. Messages
    are copied on the way in and handed out read-only, so that a context can be shared between
    streams and threads. Two contexts with the same messages are equal.

    Args:
        messages: turns as providers spell them, ``{"role": …, "content": …, …}``.

    Raises:
        InvalidOption: if a message is no mapping, has no role, or has content that is neither
            text nor a list of content parts nor ``None``.
    """

    __slots__ = ("_messages",)
    __hash__: ClassVar[None]  # type: ignore[assignment]  # the messages are dicts

    _messages: tuple[dict[str, Any], ...]

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        if isinstance(messages, str | bytes | Mapping) or not hasattr(messages, "__iter__"):
            option, given = "messages", cast("object", messages)
            raise InvalidOption(option, given, "give a list of messages")
        checked = tuple(_checked(message, index) for index, message in enumerate(messages))
        object.__setattr__(self, "_messages", checked)

    def append(self, *messages: Message) -> Context:
        """Return this context with ``messages`` after its own.

        Raises:
            InvalidOption: if a message is malformed; see `Context`.
        """
        return self._with(*(_checked(message, index) for index, message in enumerate(messages)))

    def user(self, prompt: Prompt) -> Context:
        """Return this context with a user's turn.

        Raises:
            InvalidOption: if ``prompt`` is neither text nor a list of content parts.
        """
        return self._with({"role": "user", "content": check_prompt(prompt)})

    def system(self, prompt: Prompt) -> Context:
        """Return this context with an instruction of the application.

        Raises:
            InvalidOption: if ``prompt`` is neither text nor a list of content parts.
        """
        return self._with({"role": "system", "content": check_prompt(prompt)})

    def assistant(self, text: Prompt | None, tool_calls: Iterable[ToolCall] = ()) -> Context:
        """Return this context with a turn of the model.

        Args:
            text: what it said; ``None`` where it only called tools.
            tool_calls: the tools it asked for.

        Raises:
            InvalidOption: if ``text`` is neither text nor a list of content parts nor ``None``.
        """
        content = None if text is None else check_prompt(text, option="text")
        message: dict[str, Any] = {"role": "assistant", "content": content}
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in tool_calls
        ]
        if calls:
            message["tool_calls"] = calls
        return self._with(message)

    def reply(self, response: Response) -> Context:
        """Return this context with ``response`` as the model's turn; structure becomes JSON.

        What the provider wants back as it sent it, such as signed thinking, goes with the turn as
        ``native`` and is left out for any other provider.
        """
        text = response.text
        only_tools = not text and response.tool_calls
        longer = self.assistant(None if only_tools else text, response.tool_calls)
        native = response.metadata.get("native")
        if isinstance(native, Mapping):
            longer._messages[-1]["native"] = _copied(
                cast("object", native)
            )  # nobody else has it yet
        return longer

    def tool_result(
        self, call: ToolCall | str, result: Prompt, *, is_error: bool = False
    ) -> Context:
        """Return this context with what a tool answered.

        Args:
            call: the call it answers, or the call's id.
            result: what the tool says to the model.
            is_error: whether it says that it failed.

        Raises:
            InvalidOption: if ``result`` is neither text nor a list of content parts.
        """
        id_ = call if isinstance(call, str) else call.id
        content = check_prompt(result, option="result")
        message: dict[str, Any] = {"role": "tool", "tool_call_id": id_, "content": content}
        if is_error:
            message["is_error"] = True
        return self._with(message)

    def to_messages(self, system_prompt: str | None = None) -> tuple[dict[str, Any], ...]:
        """Return the messages as plain dicts, ready for JSON and for the caller to keep.

        Args:
            system_prompt: put first, unless it is empty or the context itself opens with an
                instruction (role ``system`` or ``developer``), which then stands.
        """
        messages = tuple(_copied_mapping(message) for message in self._messages)
        if not system_prompt or (messages and messages[0]["role"] in _INSTRUCTING_ROLES):
            return messages
        return ({"role": "system", "content": system_prompt}, *messages)

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self._messages)

    def __iter__(self) -> Iterator[Message]:
        """Iterate over read-only views of the messages, oldest first."""
        return map(MappingProxyType, self._messages)

    def __getitem__(self, index: int) -> Message:
        """Return a read-only view of one message."""
        return MappingProxyType(self._messages[index])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Context):
            return NotImplemented
        return self._messages == other._messages

    def __repr__(self) -> str:
        # Prompts do not belong in logs.
        return f"Context({len(self._messages)} messages)"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Context, (list(self._messages),))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        msg = f"a Context cannot be changed ({name}); its methods return new ones"
        raise AttributeError(msg)

    def _with(self, *added: dict[str, Any]) -> Context:
        longer = Context.__new__(Context)
        object.__setattr__(longer, "_messages", self._messages + added)
        return longer


def check_prompt(prompt: Any, *, option: str = "prompt") -> str | list[dict[str, Any]]:
    """Return ``prompt`` if it is text, or a copy of it if it is a list of content parts.

    Args:
        prompt: what the caller passed.
        option: the argument's name, for the error.

    Raises:
        InvalidOption: if it is neither, or empty as a list, or a part has no ``type``.
    """
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, list | tuple):
        raise InvalidOption(option, prompt, "give text, or a list of content parts")
    parts = cast("Sequence[object]", prompt)
    if not parts:
        raise InvalidOption(option, parts, "a list of content parts must not be empty")
    return [_checked_part(part, f"{option}[{index}]") for index, part in enumerate(parts)]


def _checked_part(part: object, option: str) -> dict[str, Any]:
    copy = _copied(part)
    if isinstance(copy, dict):
        checked = cast("dict[str, Any]", copy)
        if isinstance(checked.get("type"), str) and checked["type"]:
            return checked
    raise InvalidOption(option, part, 'a content part is a mapping with a "type", e.g. "text"')


def _checked(message: object, index: int) -> dict[str, Any]:
    option = f"messages[{index}]"
    if not isinstance(message, Mapping):
        raise InvalidOption(option, message, 'a message is a mapping with "role" and "content"')
    copy = _copied_mapping(cast("Mapping[object, object]", message))
    role = copy.get("role")
    if not isinstance(role, str) or not role:
        option += ".role"
        raise InvalidOption(option, role, 'give a text such as "user" or "assistant"')
    content = copy.get("content")
    if content is not None:
        copy["content"] = check_prompt(content, option=f"{option}.content")
    return copy


def _copied_mapping(value: Mapping[Any, object]) -> dict[str, Any]:
    return {str(key): _copied(item) for key, item in value.items()}


def _copied(value: object) -> Any:
    if isinstance(value, Mapping):
        return _copied_mapping(cast("Mapping[object, object]", value))
    if isinstance(value, list | tuple):
        return [_copied(item) for item in cast("Sequence[object]", value)]
    return value
