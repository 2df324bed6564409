"""Read YAML that a person may have edited."""

from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError

from comparison import UsageError


def read_yaml(text: str) -> Any:
    """Return what a text holds as Cookiecutter reads it, with PyYAML.

    Raises UsageError for what is no YAML, and for a repeated key, of which PyYAML
    takes the last.
    """
    try:
        YAML(typ="safe", pure=True).load(text)
        return yaml.safe_load(text)
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1
        key = str(error.problem).split('"')[1]
        message = f"{key}: is given more than once, again in line {line}"
        raise UsageError(message) from error
    except Exception as error:
        # PyYAML raises a ValueError for the date 2026-02-30, a KeyError for `!!bool x`.
        message = f"is not YAML: {' '.join(str(error).split())}"
        raise UsageError(message) from error
