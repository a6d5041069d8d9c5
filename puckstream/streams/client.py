"""`Client`: which model to talk to, and how. Immutable, cheap, shareable."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from puckstream.actors.actor import NODE
from puckstream.actors.scheduler import CURRENT
from puckstream.backends.base import Backend, Chunk, Request, Resources
from puckstream.backends.providers import PROVIDERS, Provider, backend_named
from puckstream.errors import InvalidOption, NodeNotRunning
from puckstream.streams.context import Context, Prompt
from puckstream.streams.limits import Limits

__all__ = ["PROVIDERS", "Client"]


@dataclass(frozen=True, init=False, slots=True)
class Client:
    """A model, with the prompt and options that go with every request.

    ``Client("openai:gpt-4o-mini", system_prompt="Be brief.")`` names a provider and one of its
    models; keys and addresses come from the provider's own environment variables
    (``OPENAI_API_KEY``, ``OPENAI_BASE_URL``). The providers are ``anthropic``, ``ollama``,
    ``openai`` (chat completions, which many servers speak), ``openai-responses``, and
    ``scripted``, a model that needs neither key nor network. A `Backend` of one's own can stand
    in place of the string.

    Args:
        model: ``"provider:model"``, or a backend.
        system_prompt: put before every conversation.
        providers: providers of one's own by name, each called with the model's name and the
            ``backend_options``; installed packages may declare more, see `backends/providers.py`.
        limits: how many streams may run through this client at once on one node; a number is
            that of the streams. Clients with equal backends and equal limits share their places.
        backend_options: passed to the provider's backend: ``base_url``, ``api_key``,
            ``max_connections``, ``options`` (fields of the request), ….

    Raises:
        UnknownProvider: if the string names no known provider.
        MissingKey: if the provider needs a key that is not set.
        InvalidOption: if an option cannot work.
    """

    backend: Backend
    system_prompt: str | None = field(default=None, repr=False)
    limits: Limits | None = field(default=None, repr=False)

    def __init__(
        self,
        model: str | Backend,
        *,
        system_prompt: str | None = None,
        providers: Mapping[str, Provider] | None = None,
        limits: Limits | int | None = None,
        **backend_options: Any,
    ) -> None:
        if isinstance(model, str):
            backend = backend_named(model, backend_options, providers)
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
        object.__setattr__(self, "limits", None if limits is None else Limits.of(limits))

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self.backend.provider

    @property
    def model(self) -> str:
        """The model's name."""
        return self.backend.model

    @property
    def limits_key(self) -> Hashable:
        """What tells the clients apart that do not share their places."""
        key = (self.backend, self.limits)
        try:
            hash(key)
        except TypeError:  # a backend of the user's, which is only equal to itself
            return (id(self.backend), self.limits)
        return key

    @asynccontextmanager
    async def stream(
        self, prompt: Prompt, context: Context | None = None, **options: Any
    ) -> AsyncGenerator[AsyncIterator[Chunk]]:
        """Ask the model from inside a stream's function, or any code of a node.

        ``async with client.stream("…") as chunks: async for chunk in chunks: emit(chunk)``: the
        connection belongs to the code around it and is closed when that leaves or is cancelled.
        There is no stream of its own, hence no id, no log, no retry, and no limit.

        Args:
            prompt: what to ask.
            context: the conversation so far.
            options: passed on to the provider: ``temperature``, ``tools``, ….

        Raises (on entering and while iterating):
            StreamError: for anything the upstream or the network did.
            NodeNotRunning: if there is no running node around it.
            InvalidOption: if the prompt is none.
        """
        asked = (context or Context()).user(prompt)
        request = Request(asked.to_messages(self.system_prompt), options)
        async with self.backend.open(request, _resources()) as chunks:
            yield chunks


def _resources() -> Resources:
    """Return what the node around the running code keeps open."""
    actor = CURRENT.get()
    system = NODE.get() if actor is None else actor._system
    if system is None or system.closed or system.node is None:
        msg = "client.stream() needs a running node around it"
        raise NodeNotRunning(msg)
    return system.node.resources
