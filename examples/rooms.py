"""Rooms with members, found by name: groups, a registry, addresses and locks."""

import asyncio

import puckstream as puck

people = puck.Registry(name="people")  # one actor for each name


class Person(puck.Actor):
    """Is somebody in a room, and hears what is said there."""

    def __init__(self, name, room):
        super().__init__()
        self.name, self.room = name, room
        self.heard = []

    async def on_start(self):
        await self.node.groups.join(self.room)

    def on_receive(self, message):
        match message:
            case "heard":
                return self.heard
            case _:
                self.heard.append(message)
                return None


class Door(puck.Actor):
    """Sees who comes and goes."""

    async def on_start(self):
        _, inside = await self.node.groups.monitor("kitchen")
        print(f"{len(inside)} in the kitchen")

    def on_receive(self, message):
        if isinstance(message, puck.GroupChange):
            print(f"{message.change} {message.group}: {len(message.refs)}")


def say(node, room, words):
    for member in node.groups.get_members(room):
        member.tell(words)


async def write_down(node, minutes, line):
    async with node.registry.lock("minutes"):  # one at a time, also when somebody is killed here
        so_far = list(minutes)
        await asyncio.sleep(0)
        minutes[:] = [*so_far, line]


async def main():
    specs = [puck.child(*people.actor(), id="people")]
    for name in ("Ada", "Bob"):
        address = people.via(name)
        specs.append(puck.child(Person, name, "kitchen", id=name, name=address))
    async with puck.Node([*specs, Door]) as node:
        say(node, "kitchen", "good morning")
        print(f"Ada heard {await people.via('Ada').call('heard')}")

        people.via("Bob").whereis().kill()  # the next Bob enters the room as he starts
        bob = await node.wait_registered(people.via("Bob"))
        print(f"a new Bob heard {await bob.call('heard')}")
        print(f"{len(node.groups.get_members('kitchen'))} in the kitchen")

        minutes = []
        await asyncio.gather(*(write_down(node, minutes, line) for line in range(10)))
        print(f"minutes: {len(minutes)} lines")


if __name__ == "__main__":
    asyncio.run(main())
