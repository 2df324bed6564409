"""Sections of pages, such as a README, and the commands that they give."""

import re
from pathlib import Path


def section(page: Path, heading: str) -> str:
    """Return a section of a page with its subsections; `heading` is its whole line."""
    text = page.read_text(encoding="utf-8")
    level = heading.partition(" ")[0]
    _, found, rest = ("\n" + text).partition(f"\n{heading}\n")
    assert found, f"{page} has no section {heading}"
    end = re.search(rf"^#{{1,{len(level)}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def shell_blocks(page: Path, heading: str) -> list[str]:
    """Return the shell blocks of a section, each with all of its lines."""
    text = section(page, heading)
    return re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
