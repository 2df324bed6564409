"""Read answers, and check them before Cookiecutter drops one in silence.

Cookiecutter ignores an unknown key. After a bad value in a file it drops that answer
and every later one, with a warning and exit code 0.
"""

import difflib
import json
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cookiecutter.generate import generate_context
from cookiecutter.prompt import YesNoPrompt, prompt_for_config

from comparison import UsageError
from comparison.yaml_text import read_yaml

ROOT = Path(__file__).parent.parent
QUESTIONS: dict[str, object] = json.loads(
    (ROOT / "cookiecutter.json").read_text(encoding="utf-8")
)
PUBLIC = [name for name in QUESTIONS if not name.startswith("_")]
TEXTS = [name for name in PUBLIC if isinstance(QUESTIONS[name], str)]
ANSWERS_FILE = ".cookiecutter.yaml"
ANSWERS_KEY = "default_context"
OTHER_KEYS = ("abbreviations", "cookiecutters_dir", "replay_dir")

Answers = dict[str, Any]


def read_answers(path: Path) -> Answers:
    """Return the answers of a file in the form of `cookiecutter --config-file`.

    Raises UsageError for a file in another form; the answers are not checked.
    """
    if path.is_dir():
        message = f"is a folder: give its {ANSWERS_FILE}"
        raise UsageError(message)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise UsageError(message) from error
    return parse_answers(text)


def parse_answers(text: str) -> Answers:
    """Return the answers in the text of a file; raises as `read_answers` does."""
    document = read_yaml(text)
    if not isinstance(document, dict) or ANSWERS_KEY not in document:
        message = f"has no {ANSWERS_KEY}, the key that holds the answers"
        raise UsageError(message)
    for key in document:
        if key not in (ANSWERS_KEY, *OTHER_KEYS):
            message = f"{key}: is no key of an answers file{hint(key, [ANSWERS_KEY])}"
            raise UsageError(message)
    answers = document[ANSWERS_KEY]
    if not isinstance(answers, dict):
        message = f"{ANSWERS_KEY}: must hold one answer a line, as `key: value`"
        raise UsageError(message)
    return answers


def hint(word: object, known: list[str]) -> str:
    """Return a question that suggests the known word that is most like this one."""
    close = difflib.get_close_matches(str(word).lower(), known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def problems(given: Mapping[str, object]) -> list[str]:
    """Return a line for everything that is wrong with the answers.

    First what Cookiecutter would drop, then what the template's own rules refuse.
    """
    faults = [f"{key}: {fault}" for key in given for fault in dropped(key, given[key])]
    return faults or [*refused(given)]


def dropped(key: object, value: object) -> Iterator[str]:
    """Say why Cookiecutter would drop an answer, if it would."""
    if key not in PUBLIC:
        yield f"is no question of the template{hint(key, PUBLIC)}"
        return
    default = QUESTIONS[str(key)]
    if isinstance(default, list) and value not in default:
        quotes = ", in quotes" if str(value) in default else hint(value, default)
        yield f"is {value!r}, but must be one of {', '.join(default)}{quotes}"
    elif isinstance(default, bool) and not is_switch(value):
        yield f"is {value!r}, but must be true or false"
    elif isinstance(default, str) and not isinstance(value, str):
        yield f"is {value!r}, but must be text: put it in quotes"


def is_switch(value: object) -> bool:
    """Tell whether Cookiecutter takes the value for a switch."""
    words = [*YesNoPrompt.yes_choices, *YesNoPrompt.no_choices]
    return isinstance(value, bool) or (
        isinstance(value, str) and value.strip().lower() in words
    )


def refused(given: Mapping[str, object]) -> Iterator[str]:
    """Say what the template's own rules refuse.

    They stand in the hook that guards every render, which is Python unrendered, too.
    """
    try:
        answers = complete(given)
    except UsageError as error:
        yield f"{unrenderable(given)}: cannot be rendered: {error}"
        return
    hook = runpy.run_path(str(ROOT / "hooks" / "pre_gen_project.py"))
    for problem in hook["check"](answers):
        yield f"{problem.variable}: {problem.rule}; use {problem.suggestion}"


def complete(given: Mapping[str, object]) -> Answers:
    """Return the answers to all questions, rendered, and the values derived from them.

    Raises UsageError for an answer that is no valid expression.
    """
    questions = str(ROOT / "cookiecutter.json")
    context = generate_context(questions, extra_context=dict(given))
    try:
        return dict(prompt_for_config(context, no_input=True))
    except Exception as error:  # An answer may be any expression: {{ 1/0 }}.
        reason = getattr(error, "error", error)
        raise UsageError(" ".join(str(reason).split())) from error


def unrenderable(given: Mapping[str, object]) -> str:
    """Name the answer that is no valid expression."""
    for key, value in given.items():
        try:
            complete({key: value})
        except UsageError:
            return key
    return "the answers"
