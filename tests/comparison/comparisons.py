"""Run `compare.py` as a person does, and read what it prints."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import IO, Any

from lab.variants import ROOT, Variant

WIDE = 200


def compare(
    *arguments: str | Path, folder: Path = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the tool with `arguments`, in a folder."""
    return subprocess.run(
        [sys.executable, ROOT / "compare.py", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONWARNINGS": "error"} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def compare_into(
    output: int | IO[str], *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    """Run the tool with standard output going where it may not be wanted."""
    return subprocess.run(
        [sys.executable, ROOT / "compare.py", *arguments],
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


def pairs(variant: Variant, **answers: object) -> str:
    """Write a variant as `key=value,key=value`."""
    given = {**variant.answers, **answers}
    return ",".join(f"{key}={str(value).lower()}" for key, value in given.items())


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
