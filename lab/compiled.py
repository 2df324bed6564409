"""Templates that are compiled once in a process, however often they are rendered.

For each project, Cookiecutter makes a new environment of Jinja, which compiles every
file anew: half of the time that a render takes.
"""

from collections.abc import Callable, Hashable
from types import CodeType
from typing import Any

from cookiecutter.environment import StrictEnvironment

Compile = Callable[..., CodeType]


def compiled_once() -> Compile:
    """Return a method for Cookiecutter's environment that compiles a text once.

    What it makes of a text depends on nothing but the environment's class, syntax and
    extensions, and on the names that errors show.
    """
    compile_text: Compile = StrictEnvironment.compile
    known: dict[Hashable, CodeType] = {}

    def compile_once(self: Any, source: Any, *names: Any, **options: Any) -> CodeType:
        syntax = (type(self), self.lexer, *self.extensions)
        key = (syntax, source, names, *options.items())
        if key not in known:
            known[key] = compile_text(self, source, *names, **options)
        return known[key]

    return compile_once
