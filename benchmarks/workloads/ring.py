"""W5: a message handed round a ring of 1,000 actors."""

from __future__ import annotations

from typing import Final

from benchmarks.beam import elixir
from benchmarks.gauge import on_asyncio
from benchmarks.relay import our_relay, pykka_relay, queue_relay
from benchmarks.workload import Subject, Workload, faster

__all__ = ["WORKLOAD"]

MEMBERS: Final = 1_000

WORKLOAD = Workload(
    name="ring",
    title="W5 ring of 1,000",
    rounds=3,
    subjects=(
        Subject(
            "puckstream", lambda hops: on_asyncio(lambda: our_relay(MEMBERS, hops)), 200_000, 5_000
        ),
        Subject(
            "asyncio", lambda hops: on_asyncio(lambda: queue_relay(MEMBERS, hops)), 50_000, 2_000
        ),
        Subject("pykka", lambda hops: pykka_relay(MEMBERS, hops), 10_000, 1_000),
        elixir("ring", 200_000, 10_000),
    ),
    goals=(
        faster("a hop, against pykka", ours="puckstream", peer="pykka", must=8, aim=12),
        faster("a hop, against asyncio.Queue", ours="puckstream", peer="asyncio", must=4),
        faster("a hop, against BEAM processes", ours="puckstream", peer="Elixir"),
    ),
)
