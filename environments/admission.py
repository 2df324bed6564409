"""How many requests a rendered service lets in at once."""

import ast
from pathlib import Path

from environments import syntax
from environments.syntax import Setting, UnreadableError

POOL = "app/core/pool.py"


def places(folder: Path, call: ast.expr, settings: dict[str, Setting]) -> str:
    """Say how wide the semaphore is that the called class of `pool.py` makes."""
    start = first_method(folder, syntax.called(call))
    semaphores = [
        each for each in syntax.calls(start) if syntax.called(each) == "Semaphore"
    ]
    if not isinstance(call, ast.Call) or len(semaphores) != 1:
        raise unreadable()
    width = only_argument(semaphores[0])
    given = arguments_by_name(call, start)
    expression = Replacement(given).visit(width)
    text = syntax.plain(expression, settings)
    total = value_of(expression, settings)
    summed = isinstance(expression, ast.BinOp) and total is not None
    return f"{total} ({text})" if summed else text


def unreadable() -> UnreadableError:
    """Return the error for code of another shape."""
    return UnreadableError(f"how many places for requests {POOL} makes cannot be read")


def first_method(folder: Path, name: str) -> ast.FunctionDef:
    """Return the `__init__` of a class."""
    for node in ast.walk(syntax.parse(folder, POOL)):
        if isinstance(node, ast.ClassDef) and node.name == name:
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    return method
    raise unreadable()


def only_argument(call: ast.Call) -> ast.expr:
    """Return the argument of a call that has one, by position or by name."""
    arguments = [*call.args, *(word.value for word in call.keywords if word.arg)]
    if len(arguments) != 1 or isinstance(arguments[0], ast.Starred):
        raise unreadable()
    return arguments[0]


def arguments_by_name(call: ast.Call, method: ast.FunctionDef) -> dict[str, ast.expr]:
    """Return what a call gives to each parameter of a method."""
    _, *parameters = [
        each.arg for each in (*method.args.posonlyargs, *method.args.args)
    ]
    starred = any(isinstance(each, ast.Starred) for each in call.args)
    if starred or len(call.args) > len(parameters):
        raise unreadable()
    return dict(zip(parameters, call.args, strict=False)) | syntax.keywords(call)


class Replacement(ast.NodeTransformer):
    """Puts what a call gives in the place of each parameter."""

    def __init__(self, given: dict[str, ast.expr]) -> None:
        """Take the arguments by the names of their parameters."""
        self.given = given

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Replace a parameter; raises UnreadableError for another name."""
        if node.id not in self.given:
            raise unreadable()
        return self.given[node.id]


def value_of(expression: ast.expr, settings: dict[str, Setting]) -> int | None:
    """Return the value of a sum of numbers and settings, or None for anything else."""
    if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Add):
        left = value_of(expression.left, settings)
        right = value_of(expression.right, settings)
        return None if left is None or right is None else left + right
    text = syntax.plain(expression)
    setting = settings.get(text.removeprefix("settings."))
    value = text if setting is None else str(setting.default)
    return int(value) if value.isdecimal() else None
