"""W10s: one long stream, against the openai SDK's own stream: CPU time per chunk.

The server sends as fast as it is read. *Paced*, 1,000 chunks a second, every chunk is a read and a
turn of the loop of its own, which costs bare httpx about as much as everything together does here.
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


async def bare(url: str, chunks: int) -> Sample:
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


def bare_turn(chunks: int, *pace: str) -> Sample:
    with model("--text", words(chunks), *pace) as url:
        return on_asyncio(lambda: bare(url, chunks))


WORKLOAD = Workload(
    name="one_stream",
    title="W10s one stream",
    rounds=3,
    subjects=(
        Subject("puckstream", our_turn, 3_000, 100),
        Subject("openai SDK", sdk_turn, 2_000, 100),
        Subject("puckstream, paced", lambda chunks: our_turn(chunks, "--rate", RATE), 1_000, 100),
        Subject("openai SDK, paced", lambda chunks: sdk_turn(chunks, "--rate", RATE), 1_000, 100),
        Subject("httpx, paced", lambda chunks: bare_turn(chunks, "--rate", RATE), 1_000, 100),
    ),
    goals=(
        faster(
            "CPU per chunk, against the openai SDK",
            ours="puckstream",
            peer="openai SDK",
            figure="cpu",
            must=4,
            aim=6,
        ),
        faster(
            "CPU per chunk when paced, against the openai SDK",
            ours="puckstream, paced",
            peer="openai SDK, paced",
            figure="cpu",
        ),
        costs(
            "CPU per chunk when paced, against bare httpx",
            ours="puckstream, paced",
            peer="httpx, paced",
            figure="cpu",
        ),
    ),
)
