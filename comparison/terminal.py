"""Write a comparison for a person at a terminal, or as a picture of one."""

import io
import re
from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.table import Table
from rich.terminal_theme import MONOKAI
from rich.text import Text

from comparison.comparison import Comparison, count
from comparison.differences import kind_of
from comparison.output import LINES_AND_TABS, shown

PICTURE_WIDTH = 118
STYLES = {"head": "bold", "hunk": "cyan", "plus": "green", "minus": "red", "": ""}
# Rich's own picture loads its font from the network.
FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def printed(comparison: Comparison, *, table_only: bool) -> str:
    """Return the table of decisions, then the files unless it is wanted alone.

    It has the width and the colours of standard output. In a pipe, it is as wide as
    COLUMNS says, or as the terminal of another standard stream.
    """
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(*parts_of(comparison, "bold"), sep="\n")
        for line in [] if table_only else details(comparison):
            console.print(line, soft_wrap=True)
    return captured.get().removesuffix("\n")


def parts_of(comparison: Comparison, style: str = "") -> list[RenderableType]:
    """Return the table of decisions, if it has any, and the summary."""
    table = [table_of(comparison)] if comparison.decisions else []
    return [*table, plain(comparison.summary, style)]


def table_of(comparison: Comparison) -> RenderableType:
    """Return the table of decisions. Lines that are the same are dim."""
    table = Table(expand=True)
    table.add_column("Decision", ratio=5, overflow="fold")
    for side, name in (("A", comparison.left), ("B", comparison.right)):
        table.add_column(plain(f"{side}: {name}"), ratio=6, overflow="fold")
    for section, decisions in comparison.sections.items():
        table.add_section()
        table.add_row(plain(section, "bold cyan"))
        for each in decisions:
            styles = ("dim",) * 3 if each.same else ("bold", "red", "green")
            texts = (each.name, each.a, each.b)
            table.add_row(*map(plain, texts, styles))
    return table


def details(comparison: Comparison) -> Iterator[Text]:
    """Yield what would be left behind, what is the person's own, and the diff."""
    found = comparison.differences
    if found.left_behind:
        files = count(len(found.left_behind), "file")
        yield plain(f"\nRendering B over A leaves {files} behind. To remove:")
        yield plain(f"    {found.remove_command}", "yellow")
    if found.own:
        names = ", ".join(map(shown, found.own))
        yield plain(f"\nNot from the template, and left alone: {names}")
    for file in found.files:
        yield Text()
        for line in file.diff:
            yield plain(line, STYLES[kind_of(line)])


def plain(text: str, style: str = "") -> Text:
    """Return a text as it is: no markup, and nothing that a terminal obeys."""
    return Text(shown(text, LINES_AND_TABS), style)


def picture(comparison: Comparison, title: str) -> str:
    """Return the table of decisions as an SVG picture of a terminal."""
    return picture_of(parts_of(comparison), shown(title))


def picture_of(
    parts: list[RenderableType], title: str, width: int = PICTURE_WIDTH
) -> str:
    """Return an SVG picture of a terminal that shows the parts."""
    console = Console(
        record=True,
        file=io.StringIO(),
        width=width,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )
    console.print(*parts, sep="\n")
    # Rich's usual theme has too little contrast.
    svg = console.export_svg(title=title, theme=MONOKAI, unique_id="terminal")
    return re.sub(r"[ \t]+$", "", FONT.sub("", svg), flags=re.MULTILINE)
