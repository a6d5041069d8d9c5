"""An actor that cannot answer yet: a stash, answers given later, and a look inside from a REPL.

Run it: ``python examples/look_inside.py``
"""

from __future__ import annotations

from typing import Any

import puckstream as puck


class Kitchen(puck.Actor):
    """Takes orders when the oven is hot, and hands them over one after the other."""

    stash_limit = 100

    def __init__(self) -> None:
        super().__init__()
        self.hot = False
        self.orders: dict[str, puck.From] = {}

    def on_start(self) -> None:
        self.continue_with("order flour")  # the starter does not wait for it

    def on_receive(self, message: Any) -> Any:
        match message:
            case "order flour":
                print("flour: ordered before anything else")
            case "hot":
                self.hot = True
                self.set_idle_timeout(60.0, "cool down")
                return self.unstash_all()
            case "cool down":
                self.hot = False
            case ("bake", _) if not self.hot:
                self.stash(message)
            case ("bake", what):
                self.orders[what] = self.reply_to()
            case ("done", what):
                self.orders.pop(what).answer(f"{what}, baked")
        return None


def main() -> None:
    with puck.Node() as node:
        kitchen = node.spawn(Kitchen, start_timeout=5.0).get()
        look = node.inspect(kitchen)

        bread = kitchen.ask(("bake", "bread"), block=False)
        look.state().get()  # it has seen the order
        info = look.info()
        assert info is not None
        print("put aside:", info.stashed)

        print("taken up:", kitchen.ask("hot"))
        look.log(10).get()
        kitchen.tell(("done", "bread"))
        print(bread.get())

        look.suspend().get()
        cake = kitchen.ask(("bake", "cake"), block=False)
        state = look.replace_state(lambda state: {**state, "hot": True}).get()
        print("suspended:", kitchen.mailbox_length, "waits, the oven is hot:", state["hot"])
        look.resume().get()
        kitchen.tell(("done", "cake"))
        print(cake.get())
        print("seen:", *[f"{event.kind} {event.message}" for event in look.log().get()], sep="\n  ")


if __name__ == "__main__":
    main()
