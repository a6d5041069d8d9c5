"""W3p: two actors hand a message to and fro."""

from __future__ import annotations

from benchmarks.beam import elixir
from benchmarks.gauge import on_asyncio
from benchmarks.relay import our_relay, pykka_relay, queue_relay
from benchmarks.workload import Subject, Workload, faster

__all__ = ["WORKLOAD"]

WORKLOAD = Workload(
    name="ping_pong",
    title="W3p ping-pong",
    subjects=(
        Subject("puckstream", lambda hops: on_asyncio(lambda: our_relay(2, hops)), 100_000, 5_000),
        Subject("asyncio", lambda hops: on_asyncio(lambda: queue_relay(2, hops)), 50_000, 2_000),
        Subject("pykka", lambda hops: pykka_relay(2, hops), 20_000, 500),
        elixir("ping_pong", 100_000, 10_000),
    ),
    goals=(
        faster("a hop, against pykka", ours="puckstream", peer="pykka", must=8, aim=12),
        faster("a hop, against asyncio.Queue", ours="puckstream", peer="asyncio", must=4),
        faster("a hop, against BEAM processes", ours="puckstream", peer="Elixir"),
    ),
)
