"""Start a stream, follow it twice, come late, and stop it from somewhere else."""

import asyncio
from typing import Any

import puckstream as puck


async def follow(name: str, stream: puck.Stream, after: Any = 0) -> str:
    """Follow a stream and report how it ended for this follower."""
    text = how = ""
    async with stream.subscribe(after=after) as events:
        async for event in events:
            how = event.kind
            match event:
                case ("content", chunk):
                    text += chunk.content
    return f"{name}: {how} after {len(text.split())} words"


async def main():
    async with puck.Node() as node:
        stream = await node.start_stream(puck.Client("scripted:slow"), "Take your time.")
        early = asyncio.create_task(follow("early", stream))

        # Wait until the model has said five words, as one more follower.
        words = 0
        async with stream.subscribe() as events:
            async for event in events:
                words += event.kind == "content"
                if words == 5:
                    break

        late = asyncio.create_task(follow("late", stream))  # gets everything from the beginning
        tail = asyncio.create_task(follow("tail", stream, after="now"))
        print("cancel:", await node.cancel(stream.id, wait=True))  # the connection is closed now
        print("cancel again:", await node.cancel(stream.id))
        for follower in (early, late, tail):
            print(await follower)


asyncio.run(main())
