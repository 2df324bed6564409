"""Write a comparison for a person at a terminal, or as a picture of one."""

import io
import re

from rich.console import Console, RenderableType
from rich.table import Table
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from environments.comparison import Comparison, count
from environments.shown import LINES_AND_TABS, shown

WIDTH = 120
PICTURE_WIDTH = 118
SAME = "same"
DIFF_STYLES = {"+++": "bold", "---": "bold", "@@": "cyan", "+": "green", "-": "red"}
# Colours of the picture that stand out against its background.
THEME = TerminalTheme(
    (22, 27, 34),
    (230, 237, 243),
    [
        (72, 79, 88),
        (255, 166, 158),
        (126, 231, 135),
        (240, 200, 100),
        (121, 192, 255),
        (210, 168, 255),
        (118, 227, 234),
        (230, 237, 243),
    ],
)
# Rich's own picture loads its font from the network.
PICTURE = """\
<svg xmlns="http://www.w3.org/2000/svg" class="rich-terminal" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


class Output(Console):
    """A console whose caller deals with a closed pipe. Rich would end the process."""

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError that is being handled."""
        raise  # noqa: PLE0704 (Rich calls this where it has caught one)


def console_for_output() -> Console:
    """Return a console for standard output, wide enough also in a pipe."""
    console = Output(highlight=False)
    return console if console.is_terminal else Output(highlight=False, width=WIDTH)


def write(comparison: Comparison, console: Console) -> None:
    """Write the table of decisions, then the files."""
    for part in shown_parts(comparison, "bold"):
        console.print(part)
    for line in notes(comparison):
        console.print(line, soft_wrap=True)
    for difference in comparison.differences.files:
        console.print()
        for text in difference.lines:
            console.print(styled(text), soft_wrap=True)


def shown_parts(comparison: Comparison, style: str = "") -> list[RenderableType]:
    """Return the table of decisions, if it has any, and the summary."""
    table = [table_of(comparison)] if comparison.decisions else []
    return [*table, plain(comparison.summary, style)]


def table_of(comparison: Comparison) -> RenderableType:
    """Return the table of decisions. Lines that are the same are dim."""
    table = Table(expand=True)
    table.add_column("Decision", ratio=3, overflow="fold")
    for side, name in (("A", comparison.left), ("B", comparison.right)):
        table.add_column(plain(f"{side}: {name}"), ratio=5, overflow="fold")
    for section, decisions in comparison.shown_sections.items():
        table.add_section()
        table.add_row(plain(section, "bold cyan"))
        for each in decisions:
            if each.same:
                cells = [plain(each.name), plain(each.left), plain(SAME)]
                table.add_row(*cells, style="dim")
            else:
                left, right = plain(each.left, "red"), plain(each.right, "green")
                table.add_row(plain(each.name, "bold"), left, right)
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
        command = f"    {found.remove_command}"
        lines += [plain(""), plain(text), plain(command, "yellow")]
    if found.own:
        names = ", ".join(shown(name) for name in found.own)
        text = f"Not from the template, and left alone: {names}"
        lines += [plain(""), plain(text)]
    return lines


def styled(line: str) -> Text:
    """Colour a line of a diff."""
    for mark, style in DIFF_STYLES.items():
        if line.startswith(mark):
            return plain(line, style)
    return plain(line)


def picture(comparison: Comparison, title: str) -> str:
    """Return the table of decisions as an SVG picture of a terminal."""
    return picture_of(shown_parts(comparison), shown(title))


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
    for part in parts:
        console.print(part)
    svg = console.export_svg(
        title=title, theme=THEME, code_format=PICTURE, unique_id="terminal"
    )
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)
