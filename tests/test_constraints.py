"""The pinned files hold versions and hashes only, and all that pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "constraints").glob("*.txt"))
PIN = re.compile(r"([a-z0-9][a-z0-9.-]*)==([0-9][\w.]*)( ; [^\\]+)?( \\)?")
HASH = re.compile(r" +--hash=sha256:[0-9a-f]{64}( \\)?")
NAME = re.compile(r"[A-Za-z0-9._-]+")


def pins(file: Path) -> dict[str, str]:
    found = (PIN.fullmatch(line) for line in file.read_text("utf-8").splitlines())
    return {match[1]: match[2] for match in found if match}


def test_every_line_is_a_version_or_a_hash() -> None:
    strange = [
        f"{file.name}: {line}"
        for file in FILES
        for line in file.read_text("utf-8").splitlines()
        if not (line.startswith("# ") or PIN.fullmatch(line) or HASH.fullmatch(line))
    ]
    assert strange == []


def test_no_two_files_pin_different_versions() -> None:
    seen: dict[str, str] = {}
    for file in FILES:
        for name, version in pins(file).items():
            assert seen.setdefault(name, version) == version, f"{file.name}: {name}"


def test_every_dependency_and_group_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    groups: dict[str, list[object]] = {
        "run": project["project"]["dependencies"],
        **project["dependency-groups"],
    }
    assert {file.stem for file in FILES} == set(groups)
    for group, requirements in groups.items():
        pinned = pins(ROOT / "constraints" / f"{group}.txt")
        for requirement in requirements:
            if isinstance(requirement, str):
                name = NAME.match(requirement)
                assert name is not None
                assert name[0].lower() in pinned, f"{group}: {requirement}: run ./dev lock"
