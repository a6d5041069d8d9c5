"""W10s: one long stream, against the openai SDK's own stream: CPU time per chunk.

*Paced*: a chunk at a time arrives, as from a model. *Flat out*: the server sends as fast as it is
read, and one read brings many chunks.
"""

from __future__ import annotations

from typing import Final

import httpx
import msgspec
import openai

import puckstream as puck
from benchmarks.gauge import cpu_seconds, on_asyncio
from benchmarks.model import REQUEST, model, words
from benchmarks.workload import Sample, Subject, Workload, costs, faster

__all__ = ["WORKLOAD"]

RATE: Final = "1000"


async def ours(url: str, chunks: int) -> Sample:
    client = puck.Client("openai:bench", base_url=url, api_key="")
    async with puck.Node() as node:
        begun = cpu_seconds()
        stream = await node.start_stream(client, "Go on.")
        text = ""
        async with stream.subscribe() as events:
            async for event in events:
                match event:
                    case ("content", chunk):
                        text += chunk.content
                    case _:
                        pass
        return per_chunk(begun, text, chunks)


def per_chunk(begun: float, text: str, chunks: int) -> Sample:
    spent = cpu_seconds() - begun
    assert text == words(chunks)
    return {"cpu": spent / chunks * 1e6}


async def sdk(url: str, chunks: int) -> Sample:
    async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
        begun = cpu_seconds()
        stream = await client.chat.completions.create(
            model="bench", messages=[{"role": "user", "content": "Go on."}], stream=True
        )
        text = ""
        async for chunk in stream:
            if chunk.choices:
                text += chunk.choices[0].delta.content or ""
        return per_chunk(begun, text, chunks)


class Delta(msgspec.Struct):
    content: str | None = None


class Choice(msgspec.Struct):
    delta: Delta


class Event(msgspec.Struct):
    choices: list[Choice]


async def limit(url: str, chunks: int) -> Sample:
    """Read with httpx, split bytes, decode with msgspec, and do nothing else."""
    decoder = msgspec.json.Decoder(Event)
    async with httpx.AsyncClient(timeout=None) as client:
        begun = cpu_seconds()
        text = ""
        async with client.stream("POST", f"{url}/chat/completions", json=REQUEST) as response:
            rest = b""
            async for data in response.aiter_raw():
                *blocks, rest = (rest + data).split(b"\n\n")
                for block in blocks:
                    if block != b"data: [DONE]":
                        for choice in decoder.decode(block[6:]).choices:
                            text += choice.delta.content or ""
        return per_chunk(begun, text, chunks)


def our_turn(chunks: int, *pace: str) -> Sample:
    with model("--text", words(chunks), *pace) as url:
        return on_asyncio(lambda: ours(url, chunks))


def sdk_turn(chunks: int, *pace: str) -> Sample:
    with model("--text", words(chunks), *pace) as url:
        return on_asyncio(lambda: sdk(url, chunks))


def limit_turn(chunks: int, *pace: str) -> Sample:
    with model("--text", words(chunks), *pace) as url:
        return on_asyncio(lambda: limit(url, chunks))


WORKLOAD = Workload(
    name="one_stream",
    title="W10s one stream",
    rounds=3,
    subjects=(
        Subject("puckstream", lambda chunks: our_turn(chunks, "--rate", RATE), 1_000, 100),
        Subject("openai SDK", lambda chunks: sdk_turn(chunks, "--rate", RATE), 1_000, 100),
        Subject("limit", lambda chunks: limit_turn(chunks, "--rate", RATE), 1_000, 100),
        Subject("puckstream, flat out", our_turn, 3_000, 100),
        Subject("openai SDK, flat out", sdk_turn, 2_000, 100),
    ),
    goals=(
        faster(
            "CPU per chunk, paced, against the openai SDK",
            ours="puckstream",
            peer="openai SDK",
            figure="cpu",
            must=4,
            aim=6,
        ),
        faster(
            "CPU per chunk, flat out, against the openai SDK",
            ours="puckstream, flat out",
            peer="openai SDK, flat out",
            figure="cpu",
            must=4,
            aim=6,
        ),
        costs(
            "CPU per chunk, paced, against bare httpx + msgspec",
            ours="puckstream",
            peer="limit",
            figure="cpu",
        ),
    ),
)
