"""Write a comparison as one HTML page that needs nothing else."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from comparison.comparison import Comparison
from comparison.shown import LINES_AND_TABS, shown

KINDS = {"+++": "", "---": "", "@@": "hunk", "+": "plus", "-": "minus"}


def kind_of(line: str) -> str:
    """Return the class of a line of a diff."""
    return next((kind for mark, kind in KINDS.items() if line.startswith(mark)), "")


def page(comparison: Comparison) -> str:
    """Return the page, which has no place for control characters."""
    environment = Environment(
        autoescape=True,
        finalize=lambda text: shown(str(text), LINES_AND_TABS),
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["kind_of"] = kind_of
    environment.filters["shown"] = shown
    return environment.get_template("page.html").render(comparison=comparison)
