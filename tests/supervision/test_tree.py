"""The snapshot of a supervision tree: drawn, searched, and turned into JSON."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import pytest

from puckstream.supervision.tree import Tree

STREAMS = Tree(
    "streams",
    ref="ref-2",
    kind="supervisor",
    strategy="one_for_one",
    intensity=3,
    period=5.0,
    children=(Tree("s1", mailbox=2, uptime=3.25), Tree(("s", 2), state="stuck", detail="killed")),
)
NODE = Tree(
    "node",
    ref="ref-0",
    kind="supervisor",
    strategy="one_for_one",
    intensity=3,
    period=0.5,
    restarts_in_window=1,
    uptime=3725.0,
    children=(
        Tree("registry", ref="ref-1", restart_count=2, uptime=61.0),
        STREAMS,
        Tree("app", state="restarting"),
    ),
)


def test_a_tree_reads_as_a_tree() -> None:
    """One line for each node, in start order, with what is out of the ordinary."""
    assert str(NODE).splitlines() == [
        "node · running · one_for_one · 1 of 3 restarts in 0.5 s · up 1 h 2 min",
        "├── registry · running · restarted 2× · up 1 min 1 s",
        "├── streams · running · one_for_one · 0 of 3 restarts in 5 s",
        "│   ├── s1 · running · 2 waiting · up 3.2 s",
        "│   └── ('s', 2) · stuck · killed",
        "└── app · restarting",
    ]


def test_many_children_are_cut_short_unless_asked_for() -> None:
    """Printing a supervisor of 100,000 streams by accident does no harm."""
    crowd = Tree("crowd", children=tuple(Tree(number) for number in range(1000)))
    assert len(str(crowd).splitlines()) == 52
    assert str(crowd).endswith("└── … and 950 more")
    assert len(crowd.render().splitlines()) == 1001
    assert crowd.render(1).splitlines()[1:] == ["├── 0 · running", "└── … and 999 more"]


def test_walking_meets_parents_first_and_children_in_start_order() -> None:
    """The order of the drawing is the order of the walk."""
    assert [node.id for node in NODE.walk()] == [
        "node",
        "registry",
        "streams",
        "s1",
        ("s", 2),
        "app",
    ]


def test_finding_returns_the_node_or_nothing() -> None:
    """The first one in the order of the walk."""
    assert NODE.find("streams") is STREAMS
    assert NODE.find("node") is NODE
    assert NODE.find("nobody") is None


def test_a_tree_is_ready_for_json() -> None:
    """Refs and odd ids become text."""
    data = json.loads(json.dumps(NODE.to_dict()))
    assert data["restarts_in_window"] == 1
    assert data["children"][0]["ref"] == "ref-1"
    assert data["children"][1]["children"][1]["id"] == "('s', 2)"
    assert data["children"][2] == {
        "id": "app",
        "ref": None,
        "kind": "worker",
        "state": "restarting",
        "strategy": None,
        "intensity": None,
        "period": None,
        "restarts_in_window": 0,
        "restart_count": 0,
        "mailbox": None,
        "uptime": None,
        "detail": "",
        "children": [],
    }


def test_a_snapshot_never_changes() -> None:
    """What was seen stays what was seen."""
    with pytest.raises(FrozenInstanceError):
        NODE.state = "stopped"  # type: ignore[misc]


def test_a_deep_tree_is_drawn_and_walked() -> None:
    """Supervisors below supervisors below supervisors."""
    tree = Tree(0)
    for depth in range(1, 3000):
        tree = Tree(depth, children=(tree,))
    assert sum(1 for _ in tree.walk()) == 3000
    assert len(str(tree).splitlines()) == 3000
