"""Read Python files without importing them.

The comparison runs where the service's dependencies are not installed, and it must
not run a project's code. So facts are read from the syntax tree.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


class UnreadableError(Exception):
    """A file has not the form that a fact is read from; the message says which."""


def read_text(folder: Path, name: str) -> str:
    """Return the text of a file of a project; raises UnreadableError."""
    try:
        return (folder / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{name} cannot be read"
        raise UnreadableError(message) from error


def parse(folder: Path, name: str) -> ast.Module:
    """Parse a file of a project; raises UnreadableError if that is impossible."""
    try:
        return ast.parse(read_text(folder, name))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        # The last three: a NUL character, and what is nested too deep.
        message = f"{name} cannot be read"
        raise UnreadableError(message) from error


def assigned(tree: ast.Module, name: str) -> ast.expr | None:
    """Return what the module assigns to a name, or None."""
    return assignments(tree).get(name)


def assignments(tree: ast.Module) -> dict[str, ast.expr]:
    """Return what the module assigns to each name, with or without a type."""
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for target in targets_of(node)
        if isinstance(target, ast.Name)
    }


def targets_of(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    """Return what an assignment assigns to."""
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield every call."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def called(call: ast.expr) -> str:
    """Return the name of what an expression calls, or nothing."""
    if not isinstance(call, ast.Call):
        return ""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def keywords(call: ast.Call) -> dict[str, ast.expr]:
    """Return the keyword arguments of a call, in their order."""
    return {word.arg: word.value for word in call.keywords if word.arg}


def texts(tree: ast.AST) -> Iterator[str]:
    """Yield every string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def names(tree: ast.AST) -> set[str]:
    """Return every name that is used, and the last part of every dotted one."""
    plain = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    dotted = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return plain | dotted


def functions(tree: ast.Module) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the functions of a module."""
    return {
        node.name: node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@dataclass(frozen=True)
class Setting:
    """A field of a settings class, and the environment variables it is read from."""

    name: str
    variables: tuple[str, ...]
    kind: str
    default: str | None
    description: str

    @property
    def required(self) -> bool:
        """Tell whether the environment must set it."""
        return self.default is None

    def __str__(self) -> str:
        """Return the first variable, with the default where there is one."""
        if self.default is None:
            return self.variables[0]
        return f"{self.default} ({self.variables[0]})"


CONFIG = "app/core/config.py"
DATABASE = "app/core/database.py"
ENVIRONMENT = "app/core/environment.py"
MIGRATIONS = "alembic/env.py"


def settings_of(folder: Path, name: str) -> dict[str, Setting]:
    """Return the settings that a file declares, by the name of the field."""
    tree = parse(folder, name)
    aliases = assignments(parse(folder, ENVIRONMENT))
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            fields = [line for line in node.body if isinstance(line, ast.AnnAssign)]
            settings = [setting_of(field, aliases) for field in fields]
            return {setting.name: setting for setting in settings}
    message = f"{name} has no class of settings"
    raise UnreadableError(message)


def setting_of(field: ast.AnnAssign, aliases: dict[str, ast.expr]) -> Setting:
    """Read one field: `name: Kind`, `name: Kind = default` or `... = Field(...)`."""
    name = ast.unparse(field.target)
    kind = ast.unparse(field.annotation)
    variables: tuple[str, ...] = (name.upper(),)
    if field.value is None:
        return Setting(name, variables, kind, None, "")
    if not (isinstance(field.value, ast.Call) and called(field.value) == "Field"):
        return Setting(name, variables, kind, plain(field.value), "")
    arguments = keywords(field.value)
    alias = arguments.get("validation_alias")
    if isinstance(alias, ast.Name):
        alias = aliases.get(alias.id)
    if alias is not None and (read_from := tuple(texts(alias))):
        variables = read_from
    default = arguments.get("default")
    described = arguments.get("description")
    return Setting(
        name,
        variables,
        kind,
        None if default is None else plain(default),
        "".join(texts(described)) if described is not None else "",
    )


def plain(expression: ast.expr, settings: dict[str, Setting] | None = None) -> str:
    """Write an expression for a person, with each setting as its variable."""
    if isinstance(expression, ast.Constant):
        value = expression.value
        return value if isinstance(value, str) else str(value)
    text = ast.unparse(expression)
    for name, setting in (settings or {}).items():
        whole = text == f"settings.{name}"
        text = text.replace(
            f"settings.{name}", str(setting) if whole else setting.variables[0]
        )
    return text
