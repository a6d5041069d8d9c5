"""Check that every relative link of the Markdown files leads to a file, and to a heading in it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

__all__ = ["broken_links", "main"]

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^\s*(```|~~~)")
LINK = re.compile(
    r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\s*\[[^\]]+\]:\s*(\S+)", re.MULTILINE
)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


def main() -> int:
    """Check every page; return 1 when a link is broken."""
    pages = [page for page in sorted(ROOT.rglob("*.md")) if not is_hidden(page)]
    broken = [line for page in pages for line in broken_links(page)]
    print(*broken, sep="\n", end="\n" if broken else "")
    print(f"links: {len(pages)} pages, {len(broken)} broken links")
    return 1 if broken else 0


def broken_links(page: Path) -> Iterator[str]:
    """Yield one line for each relative link of ``page`` that leads nowhere."""
    for match in LINK.finditer(prose(page)):
        link = match[1] or match[2]
        if ELSEWHERE.match(link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{page.relative_to(ROOT)}: {link}: no such file"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{page.relative_to(ROOT)}: {link}: no such heading"


def prose(page: Path) -> str:
    """Return the text of ``page`` without its code blocks."""
    kept: list[str] = []
    in_code = False
    for line in page.read_text("utf-8").splitlines():
        if FENCE.match(line):
            in_code = not in_code
        elif not in_code:
            kept.append(line)
    return "\n".join(kept)


def anchors(page: Path) -> set[str]:
    """Return the anchors of the page's headings, as the usual hosts make them."""
    found: set[str] = set()
    for heading in HEADING.findall(prose(page)):
        words = re.sub(r"[^\w\- ]", "", heading.lower())
        anchor = base = words.replace(" ", "-")
        count = 0
        while anchor in found:
            count += 1
            anchor = f"{base}-{count}"
        found.add(anchor)
    return found


def is_hidden(page: Path) -> bool:
    """Return whether the page is in a folder of tools or results."""
    folders = page.relative_to(ROOT).parts[:-1]
    return any(folder.startswith(".") or folder == "build" for folder in folders)


if __name__ == "__main__":
    sys.exit(main())
