"""The page and the picture: all that is printed, and nothing that is loaded."""

import os
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lab.projects import Bakery
from lab.variants import ROOT
from tests.comparison.comparing import (
    ESCAPED,
    SIDES,
    compare,
    compare_apart,
    compared,
    odd_project,
    picture_lines,
)

PICTURE = ROOT / "docs" / "local-postgres-and-production-neon.svg"


PICTURE_COMMAND = [*SIDES, "--only-differences"]


class PageReader(HTMLParser):
    """Reads a page: its rows, what it loads, and whether its elements are closed."""

    EMPTY = ("meta", "input", "br", "link", "img")
    CELLS = ("th", "td")

    def __init__(self, html: str) -> None:
        """Read the page at once."""
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what is opened and loaded."""
        if tag not in self.EMPTY:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in self.CELLS:
            self.rows[-1].append("")
        names = ("src", "href", "srcset", "action")
        self.loaded += [f"{tag} {name}" for name, _ in attrs if name in names]
        self.loaded += [tag] if tag in ("script", "link", "iframe") else []

    def handle_endtag(self, tag: str) -> None:
        """Note what is closed."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect the text."""
        self.text += data
        if self.open and self.open[-1] in self.CELLS:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the page of two presets."""
    file = tmp_path_factory.mktemp("page") / "page.html"
    completed = compare("local-postgres", "production-neon", "--html", file)
    assert (completed.returncode, completed.stdout) == (0, "")
    assert completed.stderr == f"Wrote {file}\n"
    return file.read_text(encoding="utf-8")


def test_page_has_all_that_the_terminal_shows(html: str) -> None:
    page = PageReader(html)
    assert page.open == []
    data = compared(*SIDES)
    head = ["Decision", f"A: {data['a']}", f"B: {data['b']}"]
    assert page.rows == [head, *rows_of(data["decisions"])]
    assert {each["same"] for each in data["decisions"]} == {True, False}
    for file in data["files"]:
        assert f"{file['path']} {file['status']}" in page.text
        assert "".join(file["diff"]) in page.text


def rows_of(decisions: list[dict[str, Any]]) -> list[list[str]]:
    """Return the rows of the table: each section, and its decisions."""
    rows: list[list[str]] = []
    section = ""
    for each in decisions:
        if each["section"] != section:
            section = each["section"]
            rows.append([section])
        rows.append([each["name"], each["a"], each["b"]])
    return rows


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="There is no /dev/full")
def test_page_on_a_full_disk_gets_one_clear_line() -> None:
    completed = compare(*SIDES, "--html", "/dev/full")
    message = "compare.py: /dev/full: cannot be written: No space left on device\n"
    assert (completed.returncode, completed.stderr) == (2, message)
    assert Path("/dev/full").is_char_device()


@pytest.mark.everything
@pytest.mark.skipif(os.name == "nt", reason="It needs a named pipe")
def test_page_may_go_into_a_pipe() -> None:
    completed = compare_apart(*SIDES, "--html", "/dev/stderr")
    assert completed.stderr.startswith("<!DOCTYPE html>")
    assert completed.stderr.endswith("</html>\nWrote /dev/stderr\n")


def test_page_shows_odd_names_and_texts(bake: Bakery, tmp_path: Path) -> None:
    project = odd_project(bake, tmp_path)
    file = tmp_path / "page.html"
    assert compare(project, "database=neon", "--html", file).returncode == 0
    text = PageReader(file.read_text(encoding="utf-8")).text
    assert f"left alone: notes{ESCAPED}\\n\\xff\n" in text
    assert f"plain {ESCAPED}" in text
    assert "\x1b" not in text


def test_picture_shows_odd_names_and_texts(bake: Bakery, tmp_path: Path) -> None:
    project = odd_project(bake, tmp_path)
    file = tmp_path / "picture.svg"
    sides = [project.name, "database=neon"]
    assert compare(*sides, "--svg", file, folder=tmp_path).returncode == 0
    lines = picture_lines(file.read_text(encoding="utf-8"))
    assert any(f"A: service{ESCAPED}" in line for line in lines)


def test_page_needs_nothing_else(html: str) -> None:
    assert PageReader(html).loaded == []
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style


def test_head_of_the_table_stays_in_the_page(html: str) -> None:
    """Where nothing around it has an overflow, and it hides what passes below."""
    [rule] = re.findall(r"thead th \{([^}]*)\}", html)
    assert {"position: sticky", "top: 0"} <= set(rule.strip().split("; "))
    assert "background: var(--panel)" in rule
    around = re.findall(r"^(?:body|table|thead|tr)[^{]*\{([^}]*)\}", html, re.MULTILINE)
    assert not [each for each in around if "overflow:" in each or "overflow-x" in each]


def test_page_fits_every_screen(html: str) -> None:
    assert 'name="viewport" content="width=device-width' in html
    assert "color-scheme: light dark" in html
    assert "prefers-color-scheme: dark" in html
    assert "@media (max-width:" in html


def test_page_escapes_what_it_shows(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    name = '<script>alert(1)</script> & "quotes"'
    completed = compare(
        f"project_name={name}", "project_name=Plain,database=neon", "--html", file
    )
    assert completed.returncode == 0, completed.stderr
    page = PageReader(file.read_text(encoding="utf-8"))
    assert page.open == []
    assert page.loaded == []
    assert name in page.text


def test_no_table_is_printed_where_it_has_no_rows(tmp_path: Path) -> None:
    same = ["local-postgres", "local-postgres", "--only-differences"]
    assert compare(*same).stdout == "No file differs.\n"
    page, picture = tmp_path / "page.html", tmp_path / "picture.svg"
    assert compare(*same, "--html", page, "--svg", picture).returncode == 0
    assert picture_lines(picture.read_text(encoding="utf-8")) == ["No file differs."]
    text = page.read_text(encoding="utf-8")
    assert "<p>No decision differs.</p>" in text
    assert "<table" not in text
    files = ["python_version=3.13", "python_version=3.12", "--only-differences"]
    assert compare(*files).stdout.startswith("0 decisions and 3 files differ.\n")


def test_picture_in_the_readme_is_the_tools(tmp_path: Path) -> None:
    file = tmp_path / "picture.svg"
    completed = compare(*PICTURE_COMMAND, "--svg", file)
    assert (completed.returncode, completed.stdout) == (0, "")
    remedy = f"run: uv run compare.py {' '.join(PICTURE_COMMAND)} --svg {PICTURE.relative_to(ROOT)}"
    expected = picture_lines(file.read_text(encoding="utf-8"))
    assert picture_lines(PICTURE.read_text(encoding="utf-8")) == expected, remedy
    assert any("NEON_POOLED_URL" in line for line in expected)


FORBIDDEN_PARTS = re.compile(
    r"@import|@font-face|<\?xml-stylesheet|<!ENTITY|<!DOCTYPE[^>]+(?:SYSTEM|PUBLIC)"
)


QUOTED_ADDRESS = re.compile(r"""["']\s*(https?://[^"')\s]+)""")


STYLE_ADDRESS = re.compile(r"""url\(\s*["']?([^"')]*)""")


SVG = "http://www.w3.org/2000/svg"


def loaded(svg: str) -> set[str]:
    """Return what a picture loads or runs. An address in its text is none of that."""
    found = {*FORBIDDEN_PARTS.findall(svg), *QUOTED_ADDRESS.findall(svg)} - {SVG}
    places = STYLE_ADDRESS.findall(svg)
    for element in ET.fromstring(svg).iter():  # noqa: S314 (our own)
        name = element.tag.rpartition("}")[2]
        found |= {name} & {"script", "foreignObject"}
        for attribute, value in element.attrib.items():
            kind = attribute.rpartition("}")[2]
            found |= {kind} if kind.startswith("on") else set()
            places += [value] if kind in ("href", "src", "data") else []
    return found | {place for place in places if not place.startswith("#")}


@pytest.mark.parametrize(
    "part",
    [
        '<image href="http://example.com/x.png"/>',
        "<image href='//example.com/x.png'/>",
        '<image href="x.png"/>',
        '<a xmlns:x="y" x:href="x.svg"/>',
        '<rect style="fill: url(x.svg#a)"/>',
        "<rect fill=\"url('https://example.com/x')\"/>",
        "<style>@import 'x.css';</style>",
        "<style>@font-face { src: local(x); }</style>",
        "<script>x()</script>",
        '<rect onclick="x()"/>',
        "<foreignObject/>",
    ],
)
def test_picture_that_loads_something_is_found(part: str) -> None:
    assert loaded(f'<svg xmlns="{SVG}">{part}</svg>')


def test_address_in_the_text_of_a_picture_is_allowed() -> None:
    text = '<text fill="url(#a)">http://localhost:8000 (x)</text><use href="#b"/>'
    assert loaded(f'<svg xmlns="{SVG}">{text}</svg>') == set()


@pytest.mark.parametrize(
    "picture", sorted(ROOT.glob("docs/*.svg")), ids=lambda p: p.name
)
def test_picture_loads_nothing(picture: Path) -> None:
    assert loaded(picture.read_text(encoding="utf-8")) == set()


def test_picture_is_shown() -> None:
    page = (ROOT / "docs" / "environments.md").read_text(encoding="utf-8")
    assert f"]({PICTURE.name})" in page
