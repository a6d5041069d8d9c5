"""The three strategies in one tree: each team loses its second member, and says who is new."""

import asyncio
import logging

import puckstream as puck

STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")


class Member(puck.Actor):
    """Crashes when it is told to."""

    def on_receive(self, message):
        raise RuntimeError(message)


def team(strategy):
    """Return the spec of a supervisor of three, with the strategy's name as its id."""
    members = [puck.child(Member, id=name) for name in ("first", "second", "third")]
    return puck.child(puck.Supervisor, members, id=strategy, strategy=strategy)


async def refs_of(supervisor):
    return {row.spec.id: row.ref for row in await supervisor.which_children()}


async def lose(supervisor, name):
    """Crash a member; return who was started anew because of it."""
    before = await refs_of(supervisor)
    before[name].tell("crash")
    await before[name].wait_stopped()
    after = await refs_of(supervisor)  # answered when the restart is done
    return [member for member, ref in after.items() if ref is not before[member]]


async def main():
    logging.getLogger("puckstream").setLevel(logging.CRITICAL)  # the crashes are part of the show
    async with puck.Node() as node:
        top = await node.start_child(puck.child(puck.Supervisor, map(team, STRATEGIES), id="top"))
        for strategy in STRATEGIES:
            supervisor = (await top.which_child(strategy)).ref
            print(f"{strategy}: started anew:", ", ".join(await lose(supervisor, "second")))

        # A fourth restart within 5 seconds is one too many: the team ends, and is restarted itself.
        supervisor = (await top.which_child("one_for_one")).ref
        for _ in range(2):
            await lose(supervisor, "first")
        (await supervisor.which_child("first")).ref.tell("once more")
        print("one_for_one ended:", await supervisor.wait_stopped())
        row = await top.which_child("one_for_one")
        print(f"and is {row.state} again, restarted {row.restarts}×")
        print(await top.tree())


asyncio.run(main())
