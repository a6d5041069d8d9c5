"""Which backend a client string such as ``"openai:gpt-4o-mini"`` names.

There is no table to change while a program runs. A provider of one's own is passed to the client
that uses it, or installed with a package that declares it:

.. code-block:: toml

    [project.entry-points."puckstream.providers"]
    harbour = "harbour_puck:Harbour"
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from puckstream.backends.base import Backend
from puckstream.errors import InvalidOption, UnknownProvider

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["ENTRY_POINTS", "PROVIDERS", "Provider", "backend_named"]

Provider: TypeAlias = Callable[..., Backend]
"""Makes a backend: called with the model's name and the client's ``backend_options``."""

PROVIDERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "anthropic": "puckstream.backends.anthropic:Anthropic",
        "ollama": "puckstream.backends.ollama:Ollama",
        "openai": "puckstream.backends.openai:OpenAI",
        "openai-responses": "puckstream.backends.openai_responses:OpenAIResponses",
        "scripted": "puckstream.backends.scripted:Scripted",
    }
)
"""Provider names and where their backends are; imported when first used."""

ENTRY_POINTS: Final = "puckstream.providers"
"""The group of entry points in which installed packages declare providers."""


def backend_named(
    said: str, options: Mapping[str, Any], providers: Mapping[str, Provider] | None = None
) -> Backend:
    """Return the backend that ``said`` names: ``"provider:model"``.

    Args:
        said: everything after the first colon is the model's name.
        options: passed to the backend as keywords.
        providers: providers by name; they come before the package's own, and those before what
            installed packages declare.

    Raises:
        UnknownProvider: if there is no provider of that name, or no colon.
        InvalidOption: if no model is named, or the backend does not take the options.
        PuckstreamError: whatever else the backend refuses.
        ImportError: if a package that declares the provider cannot be imported.
    """
    name, separator, model = said.partition(":")
    provider = _provider(name, providers or {}) if separator else None
    if provider is None:
        declared = (entry_point.name for entry_point in _declared())
        known = tuple(sorted({*PROVIDERS, *(providers or ()), *declared}))
        raise UnknownProvider(name if separator else said, known)
    if not model and name in PROVIDERS and name != "scripted":
        raise InvalidOption("client", said, f"a model behind the colon, as in '{name}:MODEL'")
    try:
        return provider(model, **options)
    except TypeError as error:
        problem = f"{error}; fields of a request are given to start_stream(…) or by options="
        raise InvalidOption("backend_options", dict.fromkeys(options, "…"), problem) from error


def _provider(name: str, providers: Mapping[str, Provider]) -> Provider | None:
    if name in providers:
        return providers[name]
    place = PROVIDERS.get(name)
    if place is not None:
        module, _, class_name = place.partition(":")
        return cast("Provider", getattr(importlib.import_module(module), class_name))
    for entry_point in _declared():
        if entry_point.name == name:
            return cast("Provider", entry_point.load())
    return None


def _declared() -> Iterable[EntryPoint]:
    # Costs some 50 ms to import, and only those who have such a provider need it.
    from importlib.metadata import entry_points  # noqa: PLC0415

    return entry_points(group=ENTRY_POINTS)
