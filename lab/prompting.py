"""Drive Cookiecutter's real prompts in a pseudo-terminal."""

import os
import re
import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pexpect

from lab.variants import CHOICES, PUBLIC, QUESTIONS, ROOT, SWITCHES

COLUMNS, ROWS = 100, 60
SECONDS = 60
COLOUR = r"(?:\x1b\[[0-9;]*m)*"
# Rich drops the last space of a line that is full.
PROMPT_END = rf"\){COLOUR}:(?: |$)"


class Dialogue:
    """A person at Cookiecutter's prompts, in a folder that is also their home."""

    def __init__(self, folder: Path) -> None:
        """Start Cookiecutter."""
        self.folder = folder
        self.temporary = folder.parent / f"{folder.name}-temporary"
        self.output = folder / "output"
        self.temporary.mkdir()
        self.output.mkdir()
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in ("COOKIECUTTER_CONFIG", "NO_COLOR", "FORCE_COLOR", "CI")
        }
        home = {"HOME": str(folder), "TMPDIR": str(self.temporary)}
        self.process: Any = pexpect.spawn(
            sys.executable,
            ["-m", "cookiecutter", str(ROOT)],
            cwd=str(self.output),
            env=inherited | home | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS)},
            encoding="utf-8",
            dimensions=(ROWS, COLUMNS),
            timeout=SECONDS,
            # A test run in the background hands on that it ignores Ctrl-C.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        self.transcript = ""

    def read_question(self, number: int) -> None:
        """Wait until a question has been asked."""
        self._expect(re.escape(f"[{number}/{len(PUBLIC)}]"))
        self._expect(PROMPT_END)

    def answer(self, name: str, text: str) -> None:
        """Wait for the question about a variable, and type an answer."""
        self.read_question(PUBLIC.index(name) + 1)
        self.process.sendline(text)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.sendintr()

    def end(self) -> int:
        """Wait until Cookiecutter ends, and return its exit code."""
        self._expect(pexpect.EOF)
        self.process.close()
        code: int = self.process.exitstatus
        return code

    def _expect(self, pattern: Any) -> None:
        self.process.expect(pattern)
        matched = self.process.after
        text = matched if isinstance(matched, str) else ""
        self.transcript += self.process.before + text

    def plain(self) -> str:
        """Return the transcript without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.transcript).replace("\r\n", "\n")


def typed(name: str, value: object) -> str:
    """Return what a person types to choose a value."""
    if name in CHOICES:
        return str(CHOICES[name].index(str(value)) + 1)
    if name in SWITCHES:
        return "y" if value else "n"
    return str(value)


def talk(folder: Path, answers: Mapping[str, object]) -> Dialogue:
    """Answer every question, those that are not named with Enter alone."""
    folder.mkdir(exist_ok=True)
    dialogue = Dialogue(folder)
    for name in PUBLIC:
        given = name in answers
        dialogue.answer(name, typed(name, answers[name]) if given else "")
    code = dialogue.end()
    assert code == 0, dialogue.plain()
    return dialogue


def nth_choices(number: int) -> dict[str, object]:
    """Return the nth value of every choice, or its last one."""
    chosen: dict[str, object] = {
        name: values[min(number, len(values) - 1)] for name, values in CHOICES.items()
    }
    return chosen | dict.fromkeys(SWITCHES, number == 0)


def most_choices() -> int:
    """Return how many values the longest choice has."""
    return max(len(values) for values in QUESTIONS.values() if isinstance(values, list))


def printed_commands(text: str) -> list[str]:
    """Return the commands of a closing message: its lines that are indented by four."""
    message = text[text.index("The project is ready.") :]
    lines = [line.rstrip() for line in message.splitlines()]
    return [line.strip() for line in lines if line.startswith("    ")]
