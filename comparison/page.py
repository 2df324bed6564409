"""Write a comparison as one HTML page that needs nothing else."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from comparison.comparison import Comparison
from comparison.differences import kind_of
from comparison.output import LINES_AND_TABS, shown


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
