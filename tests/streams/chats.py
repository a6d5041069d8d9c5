"""Conversations for tests, and what has become of them."""

from __future__ import annotations

from typing import Any

import puckstream as puck
from tests.streams.upstream import Upstream


def talk(*answers: Any, **options: Any) -> tuple[puck.Conversation, Upstream]:
    """Make a conversation whose model gives ``answers``, one for each prompt."""
    upstream = Upstream(*answers)
    return puck.Conversation(puck.Client(upstream), **options), upstream


def said(conversation: puck.Conversation) -> list[Any]:
    return [message["content"] for message in conversation.context]


def told(conversation: puck.Conversation, after: int = 0) -> list[Any]:
    """Return every event there is behind ``after``."""
    return [*conversation._table.history.read(after)]


class Follower(puck.Actor):
    """Subscribes itself, and writes down what it gets."""

    def __init__(self, conversation: puck.Conversation, after: Any, seen: list[Any]) -> None:
        super().__init__()
        self._conversation = conversation
        self._after = after
        self._seen = seen

    async def on_start(self) -> None:
        await self._conversation.subscribe(self._after)

    def on_receive(self, message: Any) -> None:
        kind, conversation_id, event = message
        assert (kind, conversation_id) == ("puck_conversation", self._conversation.id)
        self._seen.append(event)
