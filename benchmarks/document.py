"""The tables of a benchmark, on the terminal and in `docs/benchmarks.md`."""

import os
import platform
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table

from lab.variants import ROOT

DOCUMENT = ROOT / "docs" / "benchmarks.md"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; every column but the first is aligned right."""
    grid = Table(box=box.MARKDOWN)
    for number, title in enumerate(header):
        grid.add_column(title, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*map(str, row))
    console = Console(file=StringIO(), width=1000, color_system=None)
    with console.capture() as capture:
        console.print(grid)
    return "\n".join(line.strip() for line in capture.get().strip().splitlines())


def publish(section: str, *parts: str) -> None:
    """Print the parts, and make them the section of that name in the document."""
    body = "\n\n".join([*parts, measured_on()])
    print(body)
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(with_section(text, section, body), encoding="utf-8")


def with_section(text: str, section: str, body: str) -> str:
    """Return the text with another body of a section, which must be there."""
    marks = f"<!-- {section} -->", f"<!-- /{section} -->"
    pattern = re.compile("{}.*{}".format(*map(re.escape, marks)), re.DOTALL)
    if not pattern.search(text):
        message = f"{DOCUMENT.name} has no section between {marks[0]} and {marks[1]}"
        raise ValueError(message)
    return pattern.sub(lambda _: f"{marks[0]}\n\n{body}\n\n{marks[1]}", text)


def measured_on() -> str:
    """Say when and where the figures come from."""
    today = datetime.now(UTC).date()
    return (
        f"Measured on {today}: {os.cpu_count()} cores, {platform.system()}"
        f" {platform.machine()}, Python {platform.python_version()}."
    )
