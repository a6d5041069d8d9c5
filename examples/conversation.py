"""A chat of several turns: a Stop, a second try, and somebody who joins late."""

import asyncio

import puckstream as puck


class Transcript(puck.Actor):
    """Keeps the turns of a conversation as they stand; its text travels on the streams."""

    def __init__(self, conversation):
        super().__init__()
        self.conversation, self.turns = conversation, []

    async def on_start(self):
        await self.conversation.subscribe()  # a snapshot first, then every event behind it

    def on_receive(self, message):
        match message:
            case ("puck_conversation", _, ("snapshot", snapshot)):
                self.turns = [turn["role"] for turn in snapshot.context]
                print(f"joined at {len(self.turns)} turns")
            case ("puck_conversation", _, ("turn", n, role, content)):
                self.turns.append(role)
                print(f"turn {n}: {role}, {len(content.split())} words")
            case ("puck_conversation", _, ("cut", n)):
                del self.turns[n:]
                print(f"turns from {n} on are void")
            case ("puck_conversation", _, ("stopped", n, reason, _)):
                print(f"stopped: {reason}")
            case ("puck_conversation", _, ("closed",)):
                print(f"closed with {self.turns}")
                self.stop()


async def main():
    async with puck.Node() as node:
        client = puck.Client("scripted:story", system_prompt="Tell it as a story.")
        conversation = await puck.Conversation(client, when_busy="interrupt").start(node)

        stream = await conversation.submit("Why is the sky blue?")
        print("first answer:", (await stream.result()).finish_reason)
        await conversation.wait_idle()  # the answer is a turn now

        transcript = await node.spawn(Transcript, conversation)  # joins late

        stream = await conversation.submit("And at night?")
        async with stream.subscribe() as events:
            async for event in events:
                if event.kind == "content":
                    break
        await conversation.stop()  # what was written so far stays as a turn
        print("after the stop:", len(conversation.context), "turns")

        stream = await conversation.retry()  # the same prompt; the new answer takes its place
        await stream.wait()
        print("after the retry:", len(await conversation.wait_idle()), "turns")

        await conversation.close()
        await transcript.wait_stopped()


asyncio.run(main())
