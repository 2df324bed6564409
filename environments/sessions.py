"""Which requests of a rendered service run in a transaction, and which in autocommit."""

import ast
from collections.abc import Iterator
from pathlib import Path

from environments import syntax
from environments.syntax import DATABASE, UnreadableError

READ_METHODS = ("get",)
WRITE_METHODS = ("post", "put", "patch", "delete")
LEVEL = "isolation_level"


def autocommit_kinds(folder: Path, methods: tuple[str, ...]) -> set[bool]:
    """Return whether the sessions that routers take for the methods are in autocommit.

    Raises UnreadableError if no router takes a session that is known.
    """
    known = sessions_of(syntax.parse(folder, DATABASE))
    kinds = {
        known[name]
        for path in sorted(folder.glob("app/routers/*.py"))
        for annotation in annotations_of(
            syntax.parse(folder, path.relative_to(folder).as_posix()), methods
        )
        for name in syntax.names(annotation) & known.keys()
    }
    if kinds:
        return kinds
    message = f"no router takes a session of {DATABASE} for {' or '.join(methods)}"
    raise UnreadableError(message)


def annotations_of(tree: ast.Module, methods: tuple[str, ...]) -> Iterator[ast.expr]:
    """Yield the annotations of the parameters of functions that answer a method."""
    for function in syntax.functions(tree).values():
        if any(syntax.called(each) in methods for each in function.decorator_list):
            for argument in [*function.args.args, *function.args.kwonlyargs]:
                if argument.annotation is not None:
                    yield argument.annotation


def sessions_of(tree: ast.Module) -> dict[str, bool]:
    """Return the dependencies that give a session, and whether it is in autocommit."""
    assigned = syntax.assignments(tree)
    engines = autocommit_engines(assigned)
    makers = {
        name: bool(syntax.names(value) & engines)
        for name, value in assigned.items()
        if "sessionmaker" in syntax.called(value)
    }
    getters = users_of(makers, dict(syntax.functions(tree)))
    return getters | users_of(getters, dict(assigned))


def autocommit_engines(assigned: dict[str, ast.expr]) -> set[str]:
    """Return the names of the engines that have no transactions."""
    engines: set[str] = set()
    for name, value in assigned.items():
        if not isinstance(value, ast.Call):
            continue
        level = syntax.keywords(value).get(LEVEL)
        if level is not None and not isinstance(level, ast.Constant):
            message = f"{LEVEL} in {DATABASE} cannot be read"
            raise UnreadableError(message)
        inherits = syntax.called(value) == "execution_options" and level is None
        if inherits and syntax.names(value.func) & engines:
            engines.add(name)
        if level is not None and level.value == "AUTOCOMMIT":
            engines.add(name)
    return engines


def users_of(known: dict[str, bool], trees: dict[str, ast.AST]) -> dict[str, bool]:
    """Return what uses something known, and whether all that it uses is in autocommit."""
    used = {name: syntax.names(tree) & known.keys() for name, tree in trees.items()}
    return {
        name: all(known[each] for each in names)
        for name, names in used.items()
        if names
    }
