"""What a stream does about a provider that fails: try again, and then ask another."""

import asyncio

import puckstream as puck

SCRIPT = "Every cloud has a silver lining."


class Flaky:
    """A backend of one's own that is overloaded as often as it is told to be."""

    def __init__(self, name, failures):
        self.provider, self.model, self.failures = name, "v1", failures

    def open(self, request, resources):
        del request, resources  # it needs neither the question nor a connection
        return self

    async def __aenter__(self):
        if self.failures:
            self.failures -= 1
            raise puck.StreamError("overloaded", "later", retryable=True, provider=self.provider)
        return self.answer()

    async def __aexit__(self, kind, error, traceback):
        pass

    async def answer(self):
        for word in SCRIPT.split():
            yield puck.Chunk("content", word + " ")
        yield puck.Chunk("finish", "", {"finish_reason": "stop"})


async def ask(node, client, **policies):
    stream = await node.start_stream(client, "Cheer me up.", **policies)
    async with stream.subscribe() as events:
        async for event in events:
            match event:
                case ("retrying", info):
                    print(f"  {info.reason}; attempt {info.attempt} is {info.provider}'s")
                case ("done", response, _):
                    print(f"  {response.content}")
                case ("error", reason):
                    print(f"  gave up: {reason}")


async def main():
    retry = puck.Retry(3, backoff=puck.Backoff(min=0.01, max=0.1))
    async with puck.Node() as node:
        print("two failures, three attempts:")
        await ask(node, puck.Client(Flaky("cloud", failures=2)), retry=retry)
        print("one that stays down, and another:")
        down, other = puck.Client(Flaky("cloud", 99)), puck.Client(Flaky("cellar", 0))
        await ask(node, down, retry=retry, fallback=[other])
        print("one that stays down, and nobody else:")
        await ask(node, down, retry=2)

        # A provider that is slow may not take the node: one runs, one waits, the third is refused.
        slow = puck.Client("scripted:stall", limits=puck.Limits(streams=1, queue=1))
        streams = [await node.start_stream(slow, "Hello?") for _ in range(2)]
        print("line:", (await streams[1].snapshot()).status)
        try:
            await node.start_stream(slow, "Hello?")
        except puck.TooManyStreams as refused:
            print("refused:", refused)


asyncio.run(main())
