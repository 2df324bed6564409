"""Run `compare.py`, and read what it prints."""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

from compare import main
from comparison.rendering import render
from lab.projects import Bakery
from lab.variants import ROOT, Variant

SIDES = ["local-postgres", "production-neon"]
ESCAPE = "\x1b]0;title\x07\r"
ESCAPED = "\\x1b]0;title\\x07\\r"
NOT_UTF8 = os.fsdecode(b"\xff")


_renders = tempfile.TemporaryDirectory()
_rendered: dict[str, Path] = {}


def render_once(answers: Mapping[str, object], output_dir: Path) -> Path:
    """Render as the tool does, but each set of answers once: rendering takes longest."""
    key = repr(answers)
    if key not in _rendered:
        _rendered[key] = render(answers, Path(_renders.name, str(len(_rendered))))
    return Path(shutil.copytree(_rendered[key], output_dir / _rendered[key].name))


def compare(
    *arguments: str | Path, folder: Path = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the tool in this process, which takes a tenth of the time."""
    words = [str(each) for each in arguments]
    variables = {"COLUMNS": "120"} | variables
    out, err = io.StringIO(), io.StringIO()
    with (
        chdir(folder),
        patch.dict(os.environ, variables),
        redirect_stdout(out),
        redirect_stderr(err),
        patch("comparison.comparison.render", render_once),
        patch("comparison.differences.render", render_once),
    ):
        code = main(words)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def compare_apart(
    *arguments: str | Path,
    folder: Path = ROOT,
    output: int | IO[str] = subprocess.PIPE,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run the tool as a person does, with standard output going to `output`."""
    return subprocess.run(
        [sys.executable, ROOT / "compare.py", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONWARNINGS": "error", "COLUMNS": "120"} | variables,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


def compared(*arguments: str | Path, folder: Path = ROOT) -> dict[str, Any]:
    """Run the tool and return what it knows, as JSON."""
    completed = compare(*arguments, "--json", folder=folder)
    assert completed.returncode == 0, completed.stderr
    data: dict[str, Any] = json.loads(completed.stdout)
    return data


def pairs(variant: Variant) -> str:
    """Write a variant as `key=value,key=value`."""
    return ",".join(
        f"{key}={str(value).lower()}" for key, value in variant.answers.items()
    )


def edited(bake: Bakery, folder: Path, **answers: object) -> Path:
    """Return a copy of a project, to be changed."""
    return Path(shutil.copytree(bake(**answers).path, folder / "my-service"))


def replace(file: Path, *changes: tuple[str, str]) -> None:
    """Replace texts in a file, each of which must be there."""
    source = file.read_text()
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    file.write_text(source)


def odd_project(bake: Bakery, folder: Path) -> Path:
    """Return a project with escapes in its name, in its texts and beside them."""
    made = edited(bake, folder, database="pgbouncer", description="plain")
    project = made.rename(folder / f"service{ESCAPE}")
    (project / f"notes{ESCAPE}\n{NOT_UTF8}").touch()
    replace(project / "app" / "main.py", ("plain", f"plain {ESCAPE}"))
    service = 'services:\n  odd: {image: "\\e[31mred"}\n'
    replace(project / "docker-compose.yml", ("services:\n", service))
    return project


def picture_lines(svg: str) -> list[str]:
    """Return the lines of text in a picture of a terminal, without their layout.

    The layout is Rich's, and may change with its release.
    """
    matrix = next(
        group
        for group in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}g")  # noqa: S314 (our own)
        if group.get("class", "").endswith("-matrix")
    )
    lines: dict[float, str] = {}
    for text in matrix.iter("{http://www.w3.org/2000/svg}text"):
        height = float(text.attrib["y"])
        lines[height] = lines.get(height, "") + (text.text or "")
    words = [" ".join(lines[height].split()) for height in sorted(lines)]
    return [line.strip("│ ") for line in words]
