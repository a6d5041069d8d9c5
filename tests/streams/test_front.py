"""What is asked of a node's streams is what was meant."""

from __future__ import annotations

from typing import Any

import pytest

import puckstream as puck

PROVIDERS_OWN = set(
    "background format instructions keep_alive max_tokens metadata n reasoning_effort seed "  # noqa: SIM905  # words
    "service_tier stop store stream_options system temperature think thinking tool_choice tools "
    "top_p truncation user verbosity".split()
)
"""Options that providers have."""


def start(node: puck.Node, client: puck.Client, options: dict[str, Any]) -> Any:
    return node.start_stream(client, "Hello.", **options)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("timeuot", "timeout"),
        ("time_out", "timeout"),
        ("on_abandonned", "on_abandoned"),
        ("if_runing", "if_running"),
        ("fallbacks", "fallback"),
        ("streamid", "stream_id"),
    ],
)
async def test_an_option_that_is_nearly_one_of_ours_is_not_sent_to_the_provider(
    given: str, meant: str
) -> None:
    async with puck.Node() as node:
        with pytest.raises(puck.InvalidOption, match=f"{given}=5 .*did you mean {meant}="):
            start(node, puck.Client("scripted:"), {given: 5})
        assert node.tree().find("streams").children == ()  # type: ignore[union-attr]


@pytest.mark.parametrize("option", sorted(PROVIDERS_OWN))
async def test_an_option_of_a_provider_is_passed_on(option: str) -> None:
    async with puck.Node() as node:
        client = puck.Client("openai:m", api_key="k", base_url="http://127.0.0.1:1")
        stream = await start(node, client, {option: None})
        await stream.cancel(wait=True)
