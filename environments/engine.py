"""What the engine of a rendered service is: its pool, its arguments, its sessions."""

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from environments import syntax
from environments.admission import places
from environments.sessions import READ_METHODS, WRITE_METHODS, autocommit_kinds
from environments.syntax import CONFIG, DATABASE, Setting, UnreadableError

DATABASE_URL = "app/core/database_url.py"
DRIVER = "app/core/driver.py"
CONNECT_ARGUMENTS = "connect_arguments"

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
OFF = ("0", "None")


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
        if any(word.arg is None for word in self.call.keywords):
            raise unreadable("**")
        return syntax.keywords(self.call)

    @cached_property
    def connect_arguments(self) -> dict[str, ast.expr]:
        """What the driver is given for each connection."""
        given = self.arguments.get("connect_args", ast.Dict([], []))
        if not isinstance(given, ast.Dict):
            raise unreadable("connect_args")
        found: dict[str, ast.expr] = {}
        for key, value in zip(given.keys, given.values, strict=True):
            if isinstance(key, ast.Constant):
                found[str(key.value)] = value
            elif key is None and isinstance(value, ast.Call) and from_driver(value):
                found |= syntax.keywords(value)
            else:
                raise unreadable("connect_args")
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
        if named is None:
            return "AsyncAdaptedQueuePool"
        return syntax.plain(named).rpartition(".")[2]

    @property
    def keeps_connections(self) -> bool:
        """Tell whether a connection outlives a request."""
        return self.pool != "NullPool"

    @property
    def pings(self) -> bool:
        """Tell whether each checkout is preceded by a query."""
        ping = self.arguments.get("pool_pre_ping", ast.Constant(value=False))
        if not isinstance(ping, ast.Constant):
            raise unreadable("pool_pre_ping")
        return self.keeps_connections and bool(ping.value)

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
        known = CACHES.get(self.driver, {})
        if known.keys() & set(syntax.texts(syntax.parse(self.folder, DRIVER))):
            message = f"{DRIVER} sets a statement cache in a way that cannot be read"
            raise UnreadableError(message)
        found = {}
        for name, default in known.items():
            given = self.connect_arguments.get(name)
            value = default if given is None else syntax.plain(given, self.settings)
            found[name] = f"off: {value}" if value.partition(" ")[0] in OFF else value
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
    def reads_in_autocommit(self) -> set[bool]:
        """Whether requests that read have no transaction: all, some or none of them."""
        return autocommit_kinds(self.folder, READ_METHODS)

    @cached_property
    def writes_in_autocommit(self) -> set[bool]:
        """Whether requests that write have no transaction: all, some or none of them."""
        return autocommit_kinds(self.folder, WRITE_METHODS)


def from_driver(call: ast.Call) -> bool:
    """Tell whether a call gives what the service's own `driver.py` makes of a URL."""
    return syntax.called(call) == CONNECT_ARGUMENTS


def unreadable(name: str) -> UnreadableError:
    """Return the error for an argument of another shape."""
    return UnreadableError(f"{name} in {DATABASE} cannot be read")


def transactions(autocommit: set[bool]) -> str:
    """Say whether requests run in a transaction."""
    if len(autocommit) > 1:
        return "some in a transaction, some in autocommit"
    return "autocommit" if autocommit == {True} else "in a transaction"


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
        ("Requests that only read", transactions(engine.reads_in_autocommit)),
        ("Requests that write", transactions(engine.writes_in_autocommit)),
    ]


def caching_facts(engine: Engine) -> list[tuple[str, str]]:
    """Return the facts about statement caching."""
    return list(engine.caches.items())
