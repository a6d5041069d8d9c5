"""Which backend a client string names, and how a provider of one's own is named."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import puckstream as puck
from puckstream.backends.openai import OpenAI
from puckstream.backends.providers import PROVIDERS, backend_named


class Harbour:
    def __init__(self, model: str, *, lamp: str = "on") -> None:
        self.model, self.lamp, self.provider = model, lamp, "harbour"

    def open(self, request: puck.Request, resources: puck.Resources) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("said", "options"),
    [
        ("anthropic:claude-x", {"api_key": "k"}),
        ("ollama:qwen3:8b", {}),
        ("openai:gpt-x", {"api_key": "k"}),
        ("openai-responses:gpt-x", {"api_key": "k"}),
        ("scripted:story", {}),
    ],
)
def test_every_provider_is_named_before_the_first_colon(said: str, options: dict[str, Any]) -> None:
    client = puck.Client(said, **options)
    assert f"{client.provider}:{client.model}" == said
    assert hash(client) == hash(puck.Client(said, **options))


def test_every_provider_of_the_table_is_tested_here() -> None:
    assert set(PROVIDERS) == {"anthropic", "ollama", "openai", "openai-responses", "scripted"}


def test_a_provider_of_one_s_own_is_passed_to_the_client_that_uses_it() -> None:
    mine: dict[str, Any] = {
        "harbour": Harbour,
        "near": functools.partial(OpenAI, base_url="http://near/v1", provider="near"),
        "openai": functools.partial(OpenAI, base_url="http://other/v1"),
    }
    client = puck.Client("harbour:lamp:2", providers=mine, lamp="off")
    assert isinstance(client.backend, Harbour)
    assert (client.backend.model, client.backend.lamp) == ("lamp:2", "off")
    near = puck.Client("near:m", providers=mine)
    assert (near.provider, near.backend.base_url) == ("near", "http://near/v1")  # type: ignore[attr-defined]
    assert puck.Client("openai:m", providers=mine).backend.base_url == "http://other/v1"  # type: ignore[attr-defined]
    with pytest.raises(puck.UnknownProvider, match="harbour"):
        puck.Client("harbor:m", providers=mine)
    with pytest.raises(puck.UnknownProvider):
        puck.Client("harbour:m")


def test_an_option_the_provider_does_not_take_is_named_without_its_value() -> None:
    with pytest.raises(puck.InvalidOption, match="lamb") as caught:
        backend_named("harbour:m", {"lamb": "secret"}, {"harbour": Harbour})
    assert "secret" not in str(caught.value)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package that declares a provider."""
    (tmp_path / "harbour_puck.py").write_text(
        "class Harbour:\n"
        "    provider = 'harbour'\n"
        "    def __init__(self, model): self.model = model\n"
        "    def open(self, request, resources): ...\n",
        "utf-8",
    )
    info = tmp_path / "harbour_puck-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: harbour-puck\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text(
        "[puckstream.providers]\nharbour = harbour_puck:Harbour\ngone = nowhere:Gone\n", "utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("harbour_puck", None)


@pytest.mark.usefixtures("installed")
def test_an_installed_package_declares_a_provider_by_an_entry_point() -> None:
    client = puck.Client("harbour:lamp")
    assert (client.provider, client.model) == ("harbour", "lamp")
    with pytest.raises(puck.UnknownProvider, match="gone, harbour, ollama"):
        puck.Client("nobody:x")
    with pytest.raises(ImportError, match="nowhere"):
        puck.Client("gone:x")


@pytest.mark.parametrize("said", ["openai:", "anthropic:", "ollama:", "openai-responses:"])
def test_a_provider_without_a_model_is_refused_before_its_key_is_asked_for(said: str) -> None:
    with pytest.raises(puck.InvalidOption, match=f"client='{said}' .*{said}MODEL"):
        backend_named(said, {})


def test_a_field_of_a_request_given_to_the_client_is_told_where_it_belongs() -> None:
    with pytest.raises(puck.InvalidOption, match=r"temperature.*start_stream"):
        backend_named("openai:m", {"api_key": "k", "temperature": 1})
