"""A model provider of one's own: registered in a line, written in thirty, checked by a contract."""

import asyncio
import functools
from dataclasses import dataclass

import puckstream as puck
from puckstream.backends.decoder import Framed
from puckstream.backends.http_backend import HttpBackend
from puckstream.backends.lines import LineDecoder
from puckstream.backends.openai import OpenAI
from puckstream.testing import BackendContract, ModelServer, Script, Upstream

ANSWER = "say The lamp\nsay  is lit ✓\nend 5\n".encode()


class HarbourDecoder:
    """Lines in, chunks out, no I/O: ``say TEXT`` adds text, ``end TOKENS`` ends the answer."""

    def __init__(self):
        self.done, self.tokens = False, None

    def decode(self, line):
        word, _, rest = line.partition(b" ")
        if word == b"say":
            return [puck.Chunk("content", rest.decode())]
        if word != b"end":
            raise puck.StreamError("parse", f"what does {word!r} mean?")
        self.done, self.tokens = True, int(rest)
        return []

    def finish(self):
        if not self.done:
            raise puck.StreamError("connection", "the answer has no end", retryable=True)
        usage = puck.Usage(output=self.tokens)
        return puck.Chunk("finish", "", {"finish_reason": "stop", "usage": usage})


@dataclass(frozen=True)
class Harbour(HttpBackend):
    """One POST to ``/ask``; connections, cancelling and errors are the base's business."""

    path = "/ask"
    accept = "text/plain"
    provider: str = "harbour"

    def request_body(self, request):
        return {"who": self.model, "said": request.messages[-1]["content"], **request.options}

    def decoder(self, secrets):  # noqa: ARG002  there is none in this dialect
        return Framed(LineDecoder(), HarbourDecoder())


class TestHarbour(BackendContract):  # pytest would run it as it stands
    answer, text, media = ANSWER, "The lamp is lit ✓", "text/plain"

    def backend(self, url, key):
        return Harbour("keeper", base_url=url, api_key=key)


async def main():
    async with (
        puck.Node() as node,
        ModelServer(Script(text="Quiet as a stone.")) as near,
        Upstream(ANSWER, media="text/plain") as far,
    ):
        providers = {
            "near": functools.partial(OpenAI, base_url=near.url, provider="near"),
            "harbour": functools.partial(Harbour, base_url=far.url),
        }
        for model in ("near:any", "harbour:keeper"):
            client = puck.Client(model, providers=providers)
            stream = await node.start_stream(client, "How is the harbour?")
            response = await stream.result()
            print(f"{client.provider}: {response.text} ({response.usage.output} tokens)")
    await TestHarbour().run()
    print("kept:", len(list(TestHarbour.checks())), "checks")


asyncio.run(main())
