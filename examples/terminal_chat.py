"""A chat in the terminal: lines in, the answer as it comes, Ctrl-C stops the answer only.

Run it as it is, without key or network, or with a model: ``MODEL=anthropic:claude-sonnet-4-5``.
"""

import asyncio
import os
import signal
import sys

import puckstream as puck


async def answer(chat, prompt):
    """Print one answer; Ctrl-C stops it and keeps what is there."""
    stream = await chat.submit(prompt)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, chat.stop)
    try:
        async with stream.subscribe() as events:
            async for event in events:
                match event:
                    case ("content", chunk):
                        print(chunk.content, end="", flush=True)
                    case ("done", response, _):
                        print(f"\n  [{response.usage.output} tokens]")
                    case ("cancelled", _):
                        print("\n  [stopped]")
                    case ("error", reason):
                        print(f"\n  [{reason}]")
                    case ("retrying", again):
                        print(f"\n  [{again.reason}; trying again in {again.delay:.1f} s]")
                    case _:
                        pass
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    await chat.wait_idle()


async def main():
    client = puck.Client(os.environ.get("MODEL", "scripted:"), system_prompt="Be brief.")
    timeout = puck.Timeout(first=30, idle=30, total=600)
    async with puck.Node() as node:
        chat = await puck.Conversation(client, timeout=timeout, retry=3).start(node)
        while True:
            print("> ", end="", flush=True)
            line = await asyncio.to_thread(sys.stdin.readline)
            if not line:
                break
            if line.strip():
                await answer(chat, line.strip())
        print(f"\n{len(chat.context)} turns in the context")


asyncio.run(main())
