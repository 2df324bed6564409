"""The benchmarks and their document belong together; the one without servers runs."""

import re
import sys
from pathlib import Path

import pytest

from benchmarks import document, render
from comparison.answers import complete
from comparison.round_trips import round_trips
from lab.variants import QUESTIONS, ROOT, VARIANTS, Variant

DOCUMENT = ROOT / "docs" / "benchmarks.md"
MODULES = {
    path.stem
    for path in (ROOT / "benchmarks").glob("*.py")
    if "def main()" in path.read_text(encoding="utf-8")
}
PUBLISHED = re.compile(r"<!-- (\w+) -->\n(.*?)<!-- /\1 -->", re.DOTALL)
COMMAND = re.compile(r"uv run --group benchmarks python -m benchmarks\.(\w+)")


def test_document_has_every_benchmark() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    sections = PUBLISHED.findall(text)
    assert {name for name, _ in sections} == MODULES
    assert COMMAND.findall(text) == [name for name, _ in sections]
    for name, body in sections:
        assert "| " in body, f"{name} has no table"
        assert "Measured on " in body, f"{name} does not say where it was measured"


def test_readme_shows_the_picture() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "](docs/latency.svg)" in readme
    assert "](docs/benchmarks.md)" in readme
    picture = (ROOT / "docs" / "latency.svg").read_text(encoding="utf-8")
    for variant in VARIANTS:
        assert f"{variant.pool} {variant.driver}" in picture
    assert "as pasted (" in picture
    assert "stroke-dasharray" in picture, "the pasted lines look like the others"


def test_section_is_replaced_alone() -> None:
    text = "a\n<!-- one -->\nold\n<!-- /one -->\nb\n<!-- two -->\n<!-- /two -->\n"
    changed = document.with_section(text, "one", r"new \1")
    assert changed == text.replace("old", "\nnew \\1\n")
    assert document.with_section(changed, "one", "old") == text.replace(
        "old", "\nold\n"
    )


def test_missing_section_is_named() -> None:
    with pytest.raises(ValueError, match="<!-- three -->"):
        document.with_section("<!-- one -->\n<!-- /one -->", "three", "new")


@pytest.mark.everything
def test_render_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "benchmarks.md"
    copy.write_text("<!-- render -->\n<!-- /render -->\n", encoding="utf-8")
    monkeypatch.setattr(document, "DOCUMENT", copy)
    monkeypatch.setattr(sys, "argv", ["render", "--rounds", "1"])

    render.main()

    printed = capsys.readouterr().out
    rows = re.findall(r"\| ([a-z ]+?) +\| +(\d+) \|$", printed, re.MULTILINE)
    assert [name for name, _ in rows] == [render.FLOOR, render.TEMPLATE]
    assert all(int(milliseconds) > 0 for _, milliseconds in rows)
    assert printed.strip() in copy.read_text(encoding="utf-8")


# What the prompts and the README say about round trips


def costs(**answers: str) -> tuple[list[int], list[int]]:
    """Return the round trips of a read and of a write, of all variants with answers."""
    found = [
        round_trips(complete(variant.answers))
        for variant in VARIANTS
        if matches(variant, answers)
    ]
    return sorted({each.read for each in found}), sorted({each.write for each in found})


def matches(variant: Variant, answers: dict[str, str]) -> bool:
    """Tell whether a variant has these answers."""
    return answers.items() <= variant.answers.items()


def label(name: str, choice: str) -> str:
    """Return what the prompt says about a choice."""
    prompts = QUESTIONS["__prompts__"]
    assert isinstance(prompts, dict)
    text: str = prompts[name][choice]
    return text


@pytest.mark.parametrize("pool", ["nullpool", "queuepool"])
def test_pool_prompt_quotes_the_round_trips(pool: str) -> None:
    reads, writes = costs(pool=pool)
    quoted = (
        f"{reads[0]} to {reads[-1]} round trips to read,"
        f" {writes[0]} to {writes[-1]} to write"
    )
    assert quoted in label("pool", pool)


@pytest.mark.parametrize("database", ["neon", "pgbouncer"])
def test_driver_prompts_quote_the_round_trips(database: str) -> None:
    here = {"database": database, "pool": "queuepool"}
    [read], [write] = costs(driver="psycopg", **here)
    assert f"{read} to read, {write} to write with queuepool" in label(
        "driver", "psycopg"
    )
    assert costs(driver="asyncpg", **here) == ([read + 1], [write + 1])
    assert "behind a pooler one round trip more" in label("driver", "asyncpg")
