"""An actor that starts streams for others and collects what they say."""

import asyncio

import puckstream as puck


class Researcher(puck.Actor):
    """Asks a model several questions at once; every answer arrives as messages."""

    def __init__(self, client, questions):
        super().__init__()
        self.client, self.questions = client, questions
        self.running, self.words = {}, {}

    async def on_start(self):
        for question in self.questions:
            # The calling actor is subscribed from the first event on.
            stream = await self.node.start_stream(self.client, question)
            self.running[stream.id] = question
            self.words[stream.id] = 0

    def on_receive(self, message):
        match message:
            case ("puck_stream", id, ("content", chunk)):
                self.words[id] += len(chunk.content.split())
            case ("puck_stream", id, event) if event.terminal:
                print(f"{self.running.pop(id)} -> {event.kind}, {self.words[id]} words")
                if not self.running:
                    self.stop()


async def main():
    async with puck.Node() as node:
        client = puck.Client("scripted:story", system_prompt="Tell it as a story.")
        questions = ["Why is the sky blue?", "Why is the sea salt?"]
        researcher = await node.spawn(Researcher, client, questions)
        await researcher.wait_stopped()


asyncio.run(main())
