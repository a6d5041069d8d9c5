"""The Anthropic Messages dialect: Anthropic, and the servers that speak it too.

Reference: Anthropic API, "Messages", streaming.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

from puckstream.backends.anthropic_decoder import MessagesDecoder
from puckstream.backends.anthropic_turns import options_of, system_of, turns_of
from puckstream.backends.base import Request
from puckstream.backends.decoder import Decoder, Framed
from puckstream.backends.http_backend import HttpBackend
from puckstream.backends.sse import SseDecoder
from puckstream.errors import InvalidOption

__all__ = ["Anthropic"]

_VERSION = "2023-06-01"
"""Of the API; it is a date, and the only one there is."""


@dataclass(frozen=True)
class Anthropic(HttpBackend):
    """A model behind the Anthropic Messages API.

    ``base_url`` is that of the API, with or without its ``/v1``; the environment's is
    ``ANTHROPIC_BASE_URL``, the key's variable ``ANTHROPIC_API_KEY``. Anthropic's own address
    demands a key, or a token.

    Thinking is sent back with its signature, as the API demands, by what a `Context` keeps of an
    answer; messages, tools, ``tool_choice``, ``stop`` and ``max_completion_tokens`` may be spelled
    as chat completions do. Ask for thinking by
    ``thinking={"type": "enabled", "budget_tokens": 4096}``.

    Args:
        auth_token: a bearer token in place of the key; default ``ANTHROPIC_AUTH_TOKEN``.
        max_tokens: the longest answer, which the API wants to be told, without the budget for
            thinking; ``max_tokens`` in the options of a stream wins, and includes it.

    The other arguments and the errors are those of `HttpBackend`.
    """

    label: ClassVar[str] = "Anthropic"
    home: ClassVar[str] = "https://api.anthropic.com"
    path: ClassVar[str] = "/messages"
    url_variable: ClassVar[str] = "ANTHROPIC_BASE_URL"
    key_variable: ClassVar[str] = "ANTHROPIC_API_KEY"
    key_needed: ClassVar[bool] = True

    provider: str = "anthropic"
    auth_token: str | None = field(default=None, repr=False)
    max_tokens: int = 16_384

    def __post_init__(self) -> None:
        token = self.auth_token
        if token is None and self.api_key is None:
            token = os.environ.get("ANTHROPIC_AUTH_TOKEN")
        if token and self.api_key is None and not os.environ.get(self.key_variable):
            object.__setattr__(self, "api_key", "")
        object.__setattr__(self, "auth_token", token or "")
        super().__post_init__()
        if not (token or "").isascii() or any(map(str.isspace, token or "")):
            raise InvalidOption("auth_token", "***", "it holds a space or a non-ASCII sign")
        if self.max_tokens < 1:
            raise InvalidOption("max_tokens", self.max_tokens, "at least 1 is needed")

    def request_body(self, request: Request) -> Mapping[str, Any]:
        """Return the body of the POST.

        Raises:
            StreamError: of kind ``invalid_request``, if a tool's arguments in the conversation are
                no JSON object.
        """
        options = {**self.options, **request.options}
        return {
            "model": self.model,
            "system": system_of(request.messages),
            "messages": turns_of(request.messages, self.provider),
            "stream": True,
            **options_of(options, self.max_tokens),
        }

    def decoder(self, secrets: tuple[str, ...] = ()) -> Decoder:
        """Return what decodes one answer."""
        return Framed(SseDecoder(), MessagesDecoder(self.provider, secrets))

    def credentials(self) -> Mapping[str, str]:
        """Return the headers that carry the key or the token, and the API's version."""
        headers = {"anthropic-version": _VERSION}
        if self.api_key:
            headers["x-api-key"] = self.api_key
        if self.auth_token:
            headers["authorization"] = f"Bearer {self.auth_token}"
        return headers

    def address(self, said: str) -> str:
        """Return the ``base_url`` with its ``/v1``, which Anthropic's own SDK leaves out."""
        path = urlsplit(said).path.rstrip("/")
        if path.endswith(("/v1", self.path)):
            return said
        return urlsplit(said)._replace(path=path + "/v1").geturl()

    def _demands_key(self, parts: Any) -> bool:
        return not self.auth_token and super()._demands_key(parts)
