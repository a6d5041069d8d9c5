"""Clients: what names a model, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

import puckstream as puck
from puckstream.streams.client import PROVIDERS


class Fake:
    """Satisfies `Backend`."""

    provider = "fake"
    model = "m"

    def open(self, request: Any, resources: Any) -> Any:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)


def test_a_string_names_provider_and_model() -> None:
    client = puck.Client("openai:gpt-4o:mini", api_key="k")
    assert (client.provider, client.model) == ("openai", "gpt-4o:mini")


def test_a_backend_can_stand_in_place_of_the_string() -> None:
    client = puck.Client(Fake(), system_prompt="Be brief.")
    assert (client.provider, client.model, client.system_prompt) == ("fake", "m", "Be brief.")


def test_equal_clients_are_equal_and_cannot_be_changed() -> None:
    one, other = (puck.Client("openai:m", api_key="k", system_prompt="s") for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    with pytest.raises(AttributeError):
        one.system_prompt = "t"  # type: ignore[misc]


def test_neither_key_nor_prompt_is_printed() -> None:
    shown = repr(puck.Client("openai:m", api_key="hidden-key", system_prompt="hidden prompt"))
    assert "hidden" not in shown


@pytest.mark.parametrize("model", ["nobody:m", "gpt-4o", "", ":m", "OpenAI:m"])
def test_an_unknown_provider_is_refused_by_name_with_those_there_are(model: str) -> None:
    with pytest.raises(puck.UnknownProvider) as refused:
        puck.Client(model)
    assert repr(model.partition(":")[0]) in str(refused.value)
    for provider in PROVIDERS:
        assert provider in str(refused.value)


def test_a_missing_key_is_refused_with_the_variable_that_would_hold_it() -> None:
    with pytest.raises(puck.MissingKey, match="OPENAI_API_KEY"):
        puck.Client("openai:gpt-4o")


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no model": (None, {}, "model=None"),
    "a number": (5, {}, "model=5"),
    "a class": (Fake.provider.__class__, {}, "model=<class 'str'>"),
    "a prompt that is no text": (Fake(), {"system_prompt": 5}, "system_prompt=5"),
    "options for a backend": (Fake(), {"api_key": "k"}, "api_key="),
    "an unknown option": ("openai:m", {"api_key": "k", "speed": 1}, "speed"),
    "a pool of none": ("openai:m", {"api_key": "k", "max_connections": 0}, "max_connections=0"),
    "an address that is none": ("openai:m", {"base_url": "localhost"}, "base_url='localhost'"),
}


@pytest.mark.parametrize(("model", "options", "named"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_work_is_refused_by_name(
    model: Any, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(puck.InvalidOption) as refused:
        puck.Client(model, **options)
    assert named in str(refused.value)


def test_a_key_in_a_wrong_call_is_not_printed() -> None:
    with pytest.raises(puck.InvalidOption) as refused:
        puck.Client("openai:m", api_key="hidden-key", speed=1)
    assert "hidden-key" not in str(refused.value)
