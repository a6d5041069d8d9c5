"""`Client`: which model to talk to, and how. Immutable, cheap, shareable."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, cast

from puckstream.backends.base import Backend
from puckstream.errors import InvalidOption, UnknownProvider

__all__ = ["PROVIDERS", "Client"]

PROVIDERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "openai": "puckstream.backends.openai:OpenAI",
        "scripted": "puckstream.backends.scripted:Scripted",
    }
)
"""Provider names and where their backends are; imported when first used."""


@dataclass(frozen=True, init=False, slots=True)
class Client:
    """A model, with the prompt and options that go with every request.

    ``Client("openai:gpt-4o-mini", system_prompt="Be brief.")`` names a provider and one of its
    models; keys and addresses come from the provider's own environment variables
    (``OPENAI_API_KEY``, ``OPENAI_BASE_URL``). ``Client("scripted:")`` talks to a model that
    needs neither key nor network. A `Backend` of one's own can stand in place of the string.

    Args:
        model: ``"provider:model"``, or a backend.
        system_prompt: put before every conversation.
        backend_options: passed to the provider's backend: ``base_url``, ``api_key``,
            ``max_connections``, ``options`` (fields of the request), ….

    Raises:
        UnknownProvider: if the string names no known provider.
        MissingKey: if the provider needs a key that is not set.
        InvalidOption: if an option cannot work.
    """

    backend: Backend
    system_prompt: str | None = field(default=None, repr=False)

    def __init__(
        self, model: str | Backend, *, system_prompt: str | None = None, **backend_options: Any
    ) -> None:
        if isinstance(model, str):
            backend = _backend(model, backend_options)
        elif backend_options:
            option, value = next(iter(backend_options.items()))
            raise InvalidOption(option, value, "a ready backend takes no further options")
        elif not callable(getattr(model, "open", None)):
            raise InvalidOption("model", model, "'provider:model', or a backend")
        else:
            backend = model
        if system_prompt is not None and not isinstance(cast("object", system_prompt), str):
            raise InvalidOption("system_prompt", system_prompt, "text")
        object.__setattr__(self, "backend", backend)
        object.__setattr__(self, "system_prompt", system_prompt)

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self.backend.provider

    @property
    def model(self) -> str:
        """The model's name."""
        return self.backend.model


def _backend(model: str, options: Mapping[str, Any]) -> Backend:
    provider, separator, name = model.partition(":")
    place = PROVIDERS.get(provider)
    if not separator or place is None:
        raise UnknownProvider(provider if separator else model, tuple(sorted(PROVIDERS)))
    module, _, class_name = place.partition(":")
    backend_class = getattr(importlib.import_module(module), class_name)
    try:
        return cast("Backend", backend_class(name, **options))
    except TypeError as error:
        raise InvalidOption("backend_options", dict.fromkeys(options, "…"), str(error)) from error
