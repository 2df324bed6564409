"""Write a comparison for a person at a terminal, or as a picture of one."""

import io
import os
import re

from rich.console import Console, RenderableType
from rich.table import Table
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from comparison.comparison import Comparison, count
from comparison.shown import LINES_AND_TABS, shown

WIDTH = 120
PICTURE_WIDTH = 118
LEAST_WIDTH = 40
DIFF_STYLES = {"+++": "bold", "---": "bold", "@@": "cyan", "+": "green", "-": "red"}
# Colours of the picture that stand out against its background: that one, the text's,
# then black, red, green, yellow, blue, magenta, cyan and white.
COLOURS = "161b22 e6edf3 484f58 ffa69e 7ee787 f0c864 79c0ff d2a8ff 76e3ea e6edf3"
# Rich's own picture loads its font from the network.
FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)


class Output(Console):
    """A console whose caller deals with a closed pipe. Rich would end the process."""

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError that is being handled."""
        raise  # noqa: PLE0704 (Rich calls this where it has caught one)


def console_for_output() -> Console:
    """Return a console for standard output, as wide as the person's terminal.

    In a pipe that is COLUMNS, or the terminal of another standard stream.
    """
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal():
        return Output(highlight=False, width=max(int(columns), LEAST_WIDTH))
    return Output(
        highlight=False, width=None if any(map(os.isatty, range(3))) else WIDTH
    )


def write(comparison: Comparison, console: Console, *, table_only: bool) -> None:
    """Write the table of decisions, then the files unless it is wanted alone."""
    for part in parts_of(comparison, "bold"):
        console.print(part)
    if table_only:
        return
    lines = notes(comparison)
    for difference in comparison.differences.files:
        lines += [Text(), *map(styled, difference.diff)]
    for line in lines:
        console.print(line, soft_wrap=True)


def parts_of(comparison: Comparison, style: str = "") -> list[RenderableType]:
    """Return the table of decisions, if it has any, and the summary."""
    table = [table_of(comparison)] if comparison.decisions else []
    return [*table, plain(comparison.summary, style)]


def table_of(comparison: Comparison) -> RenderableType:
    """Return the table of decisions. Lines that are the same are dim."""
    table = Table(expand=True)
    table.add_column("Decision", ratio=3, overflow="fold")
    for side, name in (("A", comparison.left), ("B", comparison.right)):
        table.add_column(plain(f"{side}: {name}"), ratio=5, overflow="fold")
    for section, decisions in comparison.sections.items():
        table.add_section()
        table.add_row(plain(section, "bold cyan"))
        for each in decisions:
            styles = ("dim",) * 3 if each.same else ("bold", "red", "green")
            texts = (each.name, each.a, each.b)
            table.add_row(*map(plain, texts, styles))
    return table


def plain(text: str, style: str = "") -> Text:
    """Return a text as it is: no markup, and nothing that a terminal obeys."""
    return Text(shown(text, LINES_AND_TABS), style)


def notes(comparison: Comparison) -> list[Text]:
    """Say which files would be left behind, and which are the person's own."""
    found = comparison.differences
    lines: list[Text] = []
    if found.left_behind:
        files = count(len(found.left_behind), "file")
        text = f"Rendering B over A leaves {files} behind. To remove:"
        lines += [plain(f"\n{text}"), plain(f"    {found.remove_command}", "yellow")]
    if found.own:
        names = ", ".join(map(shown, found.own))
        lines.append(plain(f"\nNot from the template, and left alone: {names}"))
    return lines


def styled(line: str) -> Text:
    """Colour a line of a diff."""
    marks = (mark for mark in DIFF_STYLES if line.startswith(mark))
    return plain(line, DIFF_STYLES.get(next(marks, ""), ""))


def picture(comparison: Comparison, title: str) -> str:
    """Return the table of decisions as an SVG picture of a terminal."""
    return picture_of(parts_of(comparison), shown(title))


def rgb(colour: str) -> tuple[int, int, int]:
    """Return the parts of a colour in hexadecimal digits."""
    red, green, blue = bytes.fromhex(colour)
    return red, green, blue


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
    background, text, *others = map(rgb, COLOURS.split())
    theme = TerminalTheme(background, text, others)
    svg = console.export_svg(title=title, theme=theme, unique_id="terminal")
    return re.sub(r"[ \t]+$", "", FONT.sub("", svg), flags=re.MULTILINE)
