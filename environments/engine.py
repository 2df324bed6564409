"""What the engine of a rendered service is: its pool, its arguments, its sessions."""

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from environments import syntax
from environments.admission import places
from environments.syntax import CONFIG, Setting, UnreadableError

DATABASE = "app/core/database.py"
DATABASE_URL = "app/core/database_url.py"
DRIVER = "app/core/driver.py"

# What the drivers and SQLAlchemy do where the service says nothing:
# https://magicstack.github.io/asyncpg/current/api/index.html#connection
# https://docs.sqlalchemy.org/en/21/dialects/postgresql.html#prepared-statement-cache
# https://www.psycopg.org/psycopg3/docs/advanced/prepare.html
CACHES = {
    "asyncpg": {
        "statement_cache_size": "on: 100 statements, asyncpg's default",
        "prepared_statement_cache_size": "on: 100 statements, SQLAlchemy's default",
    },
    "psycopg": {
        "prepare_threshold": "on: from the 6th execution, psycopg's default",
    },
}
OFF = {"0": "off: 0", "None": "off: None"}


@dataclass(frozen=True)
class Engine:
    """The engine that `app/core/database.py` makes, as far as its syntax tells."""

    folder: Path

    @cached_property
    def tree(self) -> ast.Module:
        """The module that makes the engine."""
        return syntax.parse(self.folder, DATABASE)

    @cached_property
    def settings(self) -> dict[str, Setting]:
        """The settings of the service."""
        return syntax.settings_of(self.folder, CONFIG)

    @cached_property
    def call(self) -> ast.Call:
        """The call that makes the engine."""
        call = syntax.assigned(self.tree, "engine")
        if isinstance(call, ast.Call):
            return call
        message = f"{DATABASE} assigns no call to `engine`"
        raise UnreadableError(message)

    @cached_property
    def arguments(self) -> dict[str, ast.expr]:
        """The keyword arguments of the engine."""
        return syntax.keywords(self.call)

    @cached_property
    def connect_arguments(self) -> dict[str, ast.expr]:
        """What the driver is given for each connection."""
        given = self.arguments.get("connect_args")
        if not isinstance(given, ast.Dict):
            return {}
        found: dict[str, ast.expr] = {}
        for key, value in zip(given.keys, given.values, strict=True):
            if isinstance(key, ast.Constant):
                found[str(key.value)] = value
            elif key is None and isinstance(value, ast.Call):
                found |= syntax.keywords(value)
        return found

    @cached_property
    def dialect(self) -> str:
        """The dialect that the service's URLs get, such as `postgresql+asyncpg`."""
        for call in syntax.calls(syntax.parse(self.folder, DATABASE_URL)):
            first = call.args[0] if call.args else None
            if syntax.called(call) == "create" and isinstance(first, ast.Constant):
                return str(first.value)
        message = f"{DATABASE_URL} makes no URL with a dialect"
        raise UnreadableError(message)

    @property
    def driver(self) -> str:
        """The database driver."""
        return self.dialect.partition("+")[2]

    @property
    def pool(self) -> str:
        """The class of the pool."""
        named = self.arguments.get("poolclass")
        return "AsyncAdaptedQueuePool" if named is None else syntax.plain(named)

    @property
    def keeps_connections(self) -> bool:
        """Tell whether a connection outlives a request."""
        return self.pool != "NullPool"

    @property
    def pings(self) -> bool:
        """Tell whether each checkout is preceded by a query."""
        ping = self.arguments.get("pool_pre_ping")
        return self.keeps_connections and ping is not None and "True" in ast.dump(ping)

    @property
    def checks_before_use(self) -> bool:
        """Tell whether connections are checked by the service's own code."""
        return any(
            isinstance(line, ast.Expr)
            and syntax.called(line.value) == "check_before_use"
            for line in self.tree.body
        )

    @property
    def caches(self) -> dict[str, str]:
        """Each statement cache of the driver, and whether it is on."""
        found = {}
        for name, default in CACHES.get(self.driver, {}).items():
            given = self.connect_arguments.get(name)
            value = None if given is None else syntax.plain(given)
            found[name] = default if value is None else OFF.get(value, value)
        return found

    @property
    def keeps_statements(self) -> bool:
        """Tell whether a statement stays prepared for the next request."""
        off = any(value.startswith("off") for value in self.caches.values())
        return self.keeps_connections and not off

    @property
    def unchecked(self) -> str:
        """Say how a connection is known to be alive."""
        if not self.keeps_connections:
            return "not needed: every connection is new"
        if self.pings:
            return "pool_pre_ping: a query before every request"
        if not self.checks_before_use:
            return "never"
        setting = self.settings.get("db_ping_after_idle")
        idle = f" of {setting} s" if setting else ""
        return f"a query after an idle time{idle}, or if the driver saw it end"

    @property
    def queue(self) -> str:
        """Say how requests wait for a connection."""
        if not self.keeps_connections:
            return "no waiting: every request opens its own"
        admission = syntax.assigned(self.tree, "admission")
        if admission is None:
            return "SQLAlchemy's pool decides"
        width = places(self.folder, admission, self.settings)
        return f"first come, first served: {width} at once"

    @cached_property
    def autocommit_sessions(self) -> set[str]:
        """The names of the dependencies whose sessions have no transaction."""
        assigned = syntax.assignments(self.tree)
        engines = {name for name, value in assigned.items() if is_autocommit(value)}
        makers = {
            name
            for name, value in assigned.items()
            if "sessionmaker" in syntax.called(value) and syntax.names(value) & engines
        }
        getters = {
            name
            for name, function in syntax.functions(self.tree).items()
            if syntax.names(function) & makers
        }
        return {
            name for name, value in assigned.items() if syntax.names(value) & getters
        }

    @property
    def reads_in_autocommit(self) -> bool:
        """Tell whether every router that answers GET from the database reads so."""
        sessions = [
            annotation
            for path in sorted(self.folder.glob("app/routers/*.py"))
            for annotation in annotations_of_get(
                syntax.parse(self.folder, path.relative_to(self.folder).as_posix())
            )
            if annotation.endswith("SessionDep")
        ]
        return bool(sessions) and set(sessions) <= self.autocommit_sessions


def is_autocommit(value: ast.expr) -> bool:
    """Tell whether an expression makes an engine without transactions."""
    if not isinstance(value, ast.Call):
        return False
    level = syntax.keywords(value).get("isolation_level")
    return level is not None and syntax.plain(level) == "AUTOCOMMIT"


def annotations_of_get(tree: ast.Module) -> list[str]:
    """Return the annotations of the parameters of functions that answer GET."""
    return [
        ast.unparse(argument.annotation)
        for function in syntax.functions(tree).values()
        if any(syntax.called(each) == "get" for each in function.decorator_list)
        for argument in [*function.args.args, *function.args.kwonlyargs]
        if argument.annotation is not None
    ]


def engine_facts(engine: Engine) -> list[tuple[str, str]]:
    """Return the facts about the engine, each with its name."""
    pool = engine.pool
    if "poolclass" not in engine.arguments:
        pool += ", the default"
    arguments = [
        (name, syntax.plain(value, engine.settings))
        for name, value in engine.arguments.items()
        if name not in ("poolclass", "connect_args")
    ]
    connection = [
        (f"connect_args: {name}", syntax.plain(value, engine.settings))
        for name, value in engine.connect_arguments.items()
        if name not in engine.caches
    ]
    return [
        ("Engine", f"AsyncEngine from {syntax.called(engine.call)}"),
        ("Driver", f"{engine.driver} ({engine.dialect})"),
        ("Pool", pool),
        *arguments,
        *connection,
        ("Connections are checked", engine.unchecked),
        ("Waiting for a connection", engine.queue),
        (
            "Requests that only read",
            "autocommit" if engine.reads_in_autocommit else "in a transaction",
        ),
        ("Requests that write", "in a transaction"),
    ]


def caching_facts(engine: Engine) -> list[tuple[str, str]]:
    """Return the facts about statement caching."""
    return list(engine.caches.items())
