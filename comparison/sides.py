"""The two sides of a comparison, as a person names them."""

import os
import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from comparison.answers import (
    ANSWERS_FILE,
    PUBLIC,
    ROOT,
    TEXTS,
    Answers,
    UsageError,
    hint,
    parse_answers,
    problems,
    read_answers,
)

PRESETS = {path.stem: path for path in sorted((ROOT / "presets").glob("*.yaml"))}
# What no person means to compare, where git does not say so.
IGNORED = re.compile(r"(\.env|\.git|\.venv|\.\w+_cache|__pycache__)")


@dataclass(frozen=True)
class Side:
    """One side: the answers it gives, and its folder if it is rendered already.

    `previous` holds the answers that were committed with the folder.
    """

    name: str
    answers: Answers
    folder: Path | None = None
    previous: Answers | None = None


def read_side(text: str) -> Side:
    """Find out what a person means by a preset, a file, a folder or `key=value,...`.

    Answers may follow each of the first three: `production-neon,pool=nullpool`.
    Raises UsageError if it is none of them, or if an answer cannot be used.
    """
    try:
        base, pairs = split_side(text)
        side = read_base(base)
        if pairs:
            side = Side(base, {**side.answers, **read_pairs(pairs)})
        if found := problems(side.answers):
            raise UsageError(found[0])
    except UsageError as error:
        message = f"{text}: {error}" if text else str(error)
        raise UsageError(message) from error
    return replace(side, name=text)


def split_side(text: str) -> tuple[str, list[str]]:
    """Split what a person typed into a base, which may be empty, and `key=value`s.

    A part without `=` belongs to the value before it, which had a comma in it.
    """
    if not text:
        message = "an empty name: give a preset, an answers file, a folder or key=value"
        raise UsageError(message)
    if os.path.exists(text):  # noqa: PTH110 (Path's raises for a long text)
        return text, []
    first, *others = text.split(",")
    base, parts = ("", [first]) if "=" in first else (first, [])
    for part in others:
        if "=" in part or not parts:
            parts.append(part)
        else:
            parts[-1] += "," + part
    return base, parts


def read_pairs(pairs: list[str]) -> dict[str, str]:
    """Read `key=value`s; raises UsageError for what is none, and for a repeated key."""
    given: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            message = f"{pair!r} is no key=value"
            raise UsageError(message)
        if key.strip() in given:
            message = f"{key.strip()}: is given more than once"
            raise UsageError(message)
        given[key.strip()] = value
    return given


def read_base(base: str) -> Side:
    """Return the side for a preset, an answers file, a folder, or nothing."""
    path = PRESETS.get(base, Path(base))
    if not base:
        return Side("", {})
    if path.is_file():
        return Side(base, read_answers(path))
    if not path.is_dir():
        message = (
            f"no preset ({', '.join(PRESETS)}), answers file, rendered folder"
            f" or key=value{hint(base, list(PRESETS))}"
        )
        raise UsageError(message)
    if not (path / ANSWERS_FILE).is_file():
        message = f"has no {ANSWERS_FILE}, so it is no project of this template"
        raise UsageError(message)
    answers = read_answers(path / ANSWERS_FILE)
    return Side(base, answers, path, committed_answers(path) or answers)


def committed_answers(folder: Path) -> Answers | None:
    """Return the answers that git holds, which a new render may have replaced."""
    try:
        answers = parse_answers(git(folder, "show", f"HEAD:./{ANSWERS_FILE}"))
    except UsageError:
        return None
    return None if problems(answers) else answers


def git(folder: Path, *arguments: str) -> str:
    """Return what git prints in a folder, or nothing if it fails or is missing."""
    try:
        completed = subprocess.run(  # noqa: S603 (the arguments are ours)
            ["git", *arguments],  # noqa: S607 (the person's own git)
            cwd=folder,
            capture_output=True,
            check=False,
        )
    except OSError:
        return ""
    return "" if completed.returncode else os.fsdecode(completed.stdout)


def share_names(side: Side, other: Side) -> Side:
    """Take the names that a side leaves open from the other side.

    Otherwise every file that holds the project's name would differ.
    """
    if side.folder:
        return side
    names = {key: other.answers[key] for key in TEXTS if key in other.answers}
    answers = {**names, **side.answers}
    return replace(
        side, answers={key: answers[key] for key in PUBLIC if key in answers}
    )


def files_of(folder: Path) -> set[str]:
    """Return the paths of the files that belong to a project.

    In a git checkout, those that git does not ignore: no secrets and no caches.
    """
    listed = git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed:
        names = set(listed.rstrip("\0").split("\0"))
    else:
        found = (path.relative_to(folder) for path in folder.rglob("*"))
        names = {
            path.as_posix()
            for path in found
            if not any(map(IGNORED.fullmatch, path.parts))
        }
    return {name for name in names if (folder / name).is_file()}
