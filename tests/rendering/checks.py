"""Checks of a file or of a file name. Each returns what is wrong, or nothing."""

import ast
import configparser
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from comparison.yaml_text import read_yaml

TEMPLATE_MARKS = ("{{", "}}", "{%", "%}", "{#", "#}", "cookiecutter")
WINDOWS_NAME = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
WINDOWS_CHARACTERS = set('<>:"|?*\\')
MOST_BLANK_LINES = 2


def unrendered(name: str, text: str, allowed: Iterable[str] = ()) -> list[str]:
    """Find what Jinja should have replaced, in the name or in the text."""
    found = [
        f"{name}: the name has {mark!r}"
        for mark in TEMPLATE_MARKS
        if mark in name.lower() and mark not in allowed
    ]
    for number, line in enumerate(text.split("\n"), start=1):
        found += [
            f"{name}:{number}: has {mark!r}"
            for mark in TEMPLATE_MARKS
            if mark in line.lower() and mark not in allowed
        ]
    return found


def syntax(name: str, text: str) -> list[str]:
    """Parse a file by its kind."""
    parse = PARSERS.get(PurePosixPath(name).suffix)
    if parse is None:
        return []
    try:
        parse(text)
    except (ValueError, SyntaxError, configparser.Error) as error:
        return [f"{name}: {error}"]
    return []


def parse_ini(text: str) -> None:
    """Parse an INI file; a repeated section or key is an error."""
    configparser.RawConfigParser().read_string(text)


PARSERS: dict[str, Any] = {
    ".py": ast.parse,
    ".toml": tomllib.loads,
    ".yaml": read_yaml,
    ".yml": read_yaml,
    ".ini": parse_ini,
    ".json": json.loads,
}


def whitespace(name: str, content: bytes) -> list[str]:
    """Find white space that an editor or Git would change."""
    if not content:
        return []
    found = []
    if b"\r" in content:
        found.append(f"{name}: has carriage returns")
    if b"\t" in content:
        found.append(f"{name}: has tabs")
    if not content.endswith(b"\n") or content.endswith(b"\n\n"):
        found.append(f"{name}: does not end in exactly one newline")
    if content.startswith(b"\n"):
        found.append(f"{name}: starts with a blank line")
    lines = content.decode().split("\n")
    found += [
        f"{name}:{number}: has trailing white space"
        for number, line in enumerate(lines, start=1)
        if line != line.rstrip()
    ]
    if "\n" * (MOST_BLANK_LINES + 2) in content.decode():
        found.append(f"{name}: has more than {MOST_BLANK_LINES} blank lines in a row")
    return found


def windows_names(names: Iterable[str], longest: int) -> list[str]:
    """Find paths that Windows cannot hold."""
    names = list(names)
    found = [
        f"{name}: is longer than {longest}" for name in names if len(name) > longest
    ]
    for name in names:
        for part in name.split("/"):
            if WINDOWS_CHARACTERS & set(part) or not part.isprintable():
                found.append(f"{name}: has a character that Windows refuses")
            if WINDOWS_NAME.fullmatch(part):
                found.append(f"{name}: has a name that Windows reserves")
            if part != part.rstrip(". "):
                found.append(f"{name}: has a part that ends in a dot or a space")
    folded = Counter(name.casefold() for name in names)
    found += [
        f"{name}: differs only in case" for name, count in folded.items() if count > 1
    ]
    return found
