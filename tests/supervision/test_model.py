"""Real supervision trees against a pure model of OTP's rules, at random.

Every step is one batch of things that happen to a tree: children end, start functions fail or
ignore, children unlink, administrators ask, supervisors are stopped or killed, time passes. After
each, the tree must have done what the model says: started and ended the same actors in the same
order for the same reasons, at the same time, answered the same, and stand the same.

``PUCKSTREAM_MODEL_STEPS`` is the number of steps (10,000), ``PUCKSTREAM_MODEL_SEED`` where they
begin. A failure prints a tree and what happened to it, shortened, to be pasted into `SCENARIOS`.
"""

from __future__ import annotations

import ast
import os
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.supervision.otp_chance import batches, random_tree
from tests.supervision.otp_model import Ambiguous
from tests.supervision.otp_play import Batches, Play
from tests.supervision.otp_shorter import outcome_of, shortened
from tests.supervision.otp_spec import Delay, Spec

STEPS = int(os.environ.get("PUCKSTREAM_MODEL_STEPS", "10000"))
SEED = int(os.environ.get("PUCKSTREAM_MODEL_SEED", "1"))
ROUNDS = 5
STEPS_PER_TREE = 60


@pytest.fixture(autouse=True)
def _quiet(only_reports: None) -> None:
    """Thousands of crashes are no news here."""


# ----------------------------------------------------------------------------------------- tests

CAREFREE = Spec("w", backoff=Delay(1.0, 4.0, 10.0))
DYNAMIC = Spec("d", "dynamic")

SCENARIOS: dict[str, tuple[Spec, Batches]] = {
    "a child that died unnoticed is not active": (
        Spec("s", "static", children=(Spec("w"),)),
        [[("unlink", "w")], [("end", "w", "killed")]],
    ),
    "a child whose exit still waits in the mailbox is not active": (
        Spec("s", "static", children=(Spec("w"),)),
        [[("noise", "s"), ("ask", "s", "count_children", None), ("end", "w", "shutdown")]],
    ),
    "a dynamic supervisor can be looked at while a child waits for its restart": (
        Spec("s", "static", children=(DYNAMIC,)),
        [
            [("ask", "d", "start_child", CAREFREE)],
            [("noise", "d"), ("end", "w", "crash"), ("ask", "d", "which_children", None)],
            [("advance", 1.0)],
        ],
    ),
    "a child started by hand begins with the shortest delay again": (
        Spec("s", "static", children=(CAREFREE,)),
        [
            *([("end", "w", "crash")], [("advance", 1.0)], [("end", "w", "crash")]),
            *([("ask", "s", "terminate_child", "w")], [("ask", "s", "restart_child", "w")]),
            *([("end", "w", "crash")], [("advance", 1.0)]),
        ],
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
async def test_what_once_diverged_does_so_no_more(name: str) -> None:
    """S21, S32, S39: plays that were found at random."""
    spec, recorded = SCENARIOS[name]
    await Play(spec).run(lambda _model: recorded)


def test_the_model_shares_nothing_with_what_it_is_the_model_of() -> None:
    """Neither it nor what it is made of imports anything of puckstream."""
    folder = Path(__file__).parent
    for name in ("otp_model", "otp_procs", "otp_rules", "otp_spec"):
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text("utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            assert not [module for module in modules if module.startswith("puckstream")], name


@pytest.mark.time_limit(60 + STEPS / 50)
@pytest.mark.parametrize("round_", range(ROUNDS))
async def test_a_tree_does_what_the_model_of_otp_does(round_: int) -> None:
    """S8, S10, S11, S14, S15, S17, S19, S20, S21, S22, S24, S25, S26, S27, S29, S30, S31, S32,
    S34, S35, S36, S37, S38, S39: whatever happens, in whatever order."""
    steps = trees = ambiguous = 0
    while steps < STEPS // ROUNDS:
        seed = f"{SEED}-{round_}-{trees}"
        random = Random(seed)
        play = Play(random_tree(random))
        trees += 1
        try:
            await play.run(partial(batches, random, count=STEPS_PER_TREE))
        except Ambiguous:
            ambiguous += 1
        except Exception as error:
            spec, recorded = await shortened(play.spec, play.record)
            why = await outcome_of(spec, recorded)
            happened = "\n".join(f"        {batch!r}," for batch in recorded)
            error.add_note(
                f"seed {seed}, step {len(play.record)}; shortened: {why}\n"
                f"    (\n      {spec!r},\n      [\n{happened}\n      ],\n    ),"
            )
            raise
        steps += len(play.record)
    assert ambiguous < max(5, trees / 4), (
        f"{ambiguous} of {trees} could not be compared to their end"
    )
