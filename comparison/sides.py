"""The two sides of a comparison, as a person names them."""

import os
import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from comparison import UsageError
from comparison.answers import (
    ANSWERS_FILE,
    ROOT,
    TEXTS,
    Answers,
    hint,
    parse_answers,
    problems,
    read_answers,
)

PRESETS = {path.stem: path for path in sorted((ROOT / "presets").glob("*.yaml"))}
# A comma inside a value, as in a description, has no `key=` after it.
COMMA = re.compile(r",\s*(?=\w+\s*=)")
# What no person means to compare, where git does not say so.
IGNORED = re.compile(r"(\.env|\.git|\.venv|\.\w+_cache|__pycache__)")


@dataclass(frozen=True)
class Side:
    """One side: the answers it gives, and its folder if it is rendered already.

    `previous` holds the answers that were committed with the folder.
    """

    answers: Answers
    folder: Path | None = None
    previous: Answers | None = None


def read_side(text: str) -> Side:
    """Find out what a person means by a preset, a file, a folder or `key=value,...`.

    Answers may follow each of the first three: `production-neon,pool=nullpool`.
    Raises UsageError if it is none of them, or if an answer cannot be used.
    """
    try:
        side = parse_side(text)
        if found := problems(side.answers):
            raise UsageError(found[0])
    except UsageError as error:
        message = f"{text or 'an empty name'}: {error}"
        raise UsageError(message) from error
    return side


def parse_side(text: str) -> Side:
    """Return the side that a text names, with its answers as they are given."""
    if os.path.exists(text):  # noqa: PTH110 (Path's raises for a long text)
        return read_base(text)
    first, *pairs = COMMA.split(text)
    if "=" in first:
        return Side(read_pairs([first, *pairs]))
    base = read_base(first)
    return Side({**base.answers, **read_pairs(pairs)}) if pairs else base


def read_pairs(pairs: list[str]) -> Answers:
    """Read `key=value`s; raises UsageError for a repeated key."""
    given: Answers = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key.strip() in given:
            message = f"{key.strip()}: is given more than once"
            raise UsageError(message)
        given[key.strip()] = value
    return given


def read_base(name: str) -> Side:
    """Return the side for a preset, an answers file or a folder."""
    path = PRESETS.get(name, Path(name))
    if path.is_file():
        return Side(read_answers(path))
    if not name or not path.is_dir():
        message = (
            f"is no preset ({', '.join(PRESETS)}), answers file, rendered folder"
            f" or key=value,key=value{hint(name, list(PRESETS))}"
        )
        raise UsageError(message)
    if not (path / ANSWERS_FILE).is_file():
        message = f"has no {ANSWERS_FILE}, so it is no project of this template"
        raise UsageError(message)
    answers = read_answers(path / ANSWERS_FILE)
    return Side(answers, path, committed_answers(path))


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
    return replace(side, answers={**names, **side.answers})


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
