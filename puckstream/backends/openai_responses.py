"""The OpenAI Responses dialect: OpenAI, and the servers that speak it too.

Reference: OpenAI API, "Responses", streaming events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from puckstream.backends.base import Request
from puckstream.backends.decoder import Decoder, Framed
from puckstream.backends.http_backend import HttpBackend
from puckstream.backends.openai_responses_decoder import ResponsesDecoder
from puckstream.backends.openai_responses_input import input_of, options_of
from puckstream.backends.sse import SseDecoder
from puckstream.errors import StreamError

__all__ = ["OpenAIResponses"]


@dataclass(frozen=True)
class OpenAIResponses(HttpBackend):
    """A model behind the OpenAI Responses API.

    ``base_url`` is that of the API with its ``/v1``; the environment's is ``OPENAI_BASE_URL``, the
    key's variable ``OPENAI_API_KEY``. Only OpenAI's own address demands a key.

    The whole conversation is sent every time, reasoning items included, by what a `Context` keeps
    of an answer. Messages, tools, ``tool_choice`` and ``max_tokens`` may be spelled as chat
    completions do. Ask for the summary of the reasoning by ``reasoning={"summary": "auto"}``; with
    ``store=False`` also for ``include=["reasoning.encrypted_content"]``, without which reasoning
    cannot be sent back.

    Args:
        organization: the OpenAI organization to bill.

    The other arguments and the errors are those of `HttpBackend`.
    """

    label: ClassVar[str] = "OpenAI"
    home: ClassVar[str] = "https://api.openai.com/v1"
    path: ClassVar[str] = "/responses"
    url_variable: ClassVar[str] = "OPENAI_BASE_URL"
    key_variable: ClassVar[str] = "OPENAI_API_KEY"
    key_needed: ClassVar[bool] = True

    provider: str = "openai-responses"
    organization: str | None = None

    def request_body(self, request: Request) -> Mapping[str, Any]:
        """Return the body of the POST.

        Raises:
            StreamError: of kind ``invalid_request``, if a tool's arguments in the conversation are
                no JSON object, or if the answer is asked for in the background, where it would
                outlive its stream.
        """
        options = {**self.options, **request.options}
        if options.get("background"):
            msg = "background=True: the answer would go on, and be billed, after its stream ended"
            raise StreamError("invalid_request", msg, provider=self.provider)
        stored = options.get("store") is not False
        return {
            "model": self.model,
            "input": input_of(request.messages, self.provider, stored=stored),
            "stream": True,
            **options_of(options),
        }

    def decoder(self, secrets: tuple[str, ...] = ()) -> Decoder:
        """Return what decodes one answer."""
        return Framed(SseDecoder(), ResponsesDecoder(self.provider, secrets))

    def credentials(self) -> Mapping[str, str]:
        """Return the headers that carry the key and the organization."""
        headers = dict(super().credentials())
        if self.organization is not None:
            headers["openai-organization"] = self.organization
        return headers
