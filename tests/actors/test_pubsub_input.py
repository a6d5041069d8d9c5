"""What is no subscriber is refused in its caller, and costs the pub/sub actor nothing."""

from __future__ import annotations

from typing import Any

import pytest

import puckstream as puck


@pytest.mark.parametrize("wrong", [5, "a name", object()])
async def test_what_is_no_ref_is_refused_by_name_in_the_caller(wrong: Any) -> None:
    async with puck.Node() as node:
        before = node.whereis_child("pubsub")
        with pytest.raises(puck.InvalidOption, match="ref="):
            await node.pubsub.subscribe("news", wrong)
        assert node.whereis_child("pubsub") is before
