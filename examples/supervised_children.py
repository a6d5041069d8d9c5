"""A supervisor restarts a child that crashes; the tree shows what happened."""

import asyncio
import logging

import puckstream as puck


class Ledger(puck.Actor):
    """Keeps the balance; a new instance starts at nought."""

    def __init__(self):
        super().__init__()
        self.balance = 0

    def on_receive(self, message):
        match message:
            case ("add", int(amount)):
                self.balance += amount
                return self.balance
            case _:
                raise ValueError(f"no such order: {message!r}")


class Teller(puck.Actor):
    """Depends on the ledger, and so is restarted with it."""

    def on_receive(self, amount):
        return self.node.whereis("ledger").call(("add", amount))


async def main():
    logging.getLogger("puckstream").setLevel(logging.CRITICAL)  # the crash is part of the show
    children = [puck.child(Ledger, name="ledger"), puck.child(Teller, id="teller", name="teller")]
    async with puck.Node(children, strategy="rest_for_one") as node:
        ledger = node.whereis("ledger")
        print("balance:", await ledger.call(("add", 5)))
        try:
            await ledger.call("nonsense")
        except ValueError as error:
            print("the asker learns of it:", error)
        print("the ledger ended:", await ledger.wait_stopped())
        ledger = await node.wait_registered("ledger")  # the next instance
        print("balance:", await ledger.call(("add", 1)))
        await node.wait_registered("teller")
        print(node.tree())


asyncio.run(main())
