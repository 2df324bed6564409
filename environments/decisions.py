"""The table of decisions, read from two rendered projects."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from environments import syntax
from environments.compose import compose_facts, env_file_facts
from environments.engine import Engine, caching_facts, engine_facts
from environments.round_trips import round_trip_facts
from environments.syntax import CONFIG, MIGRATIONS, UnreadableError
from environments.urls import tests_url, tls_facts, url_facts

ABSENT = "-"
UNREADABLE = "cannot be read"

Facts = dict[str, str]


@dataclass(frozen=True)
class Decision:
    """One line of the table: what each side does about the same thing."""

    section: str
    name: str
    left: str
    right: str

    @property
    def same(self) -> bool:
        """Tell whether both sides decided alike."""
        return self.left == self.right


def engine_section(folder: Path) -> Facts:
    """Read the engine's class and arguments."""
    return dict(engine_facts(Engine(folder)))


def caching_section(folder: Path) -> Facts:
    """Read the statement caches."""
    return dict(caching_facts(Engine(folder)))


def url_section(folder: Path) -> Facts:
    """Read the URLs."""
    return dict(url_facts(folder))


def tls_section(folder: Path) -> Facts:
    """Read the TLS settings."""
    return dict(tls_facts(folder))


def compose_section(folder: Path) -> Facts:
    """Read the Compose services."""
    return dict(compose_facts(folder))


def variable_section(folder: Path) -> Facts:
    """Read the variables of the API, of migrations and of the tests."""
    needed: dict[str, list[str]] = {}
    facts: Facts = {}
    for reader, file in (("the API", CONFIG), ("migrations", MIGRATIONS)):
        for setting in syntax.settings_of(folder, file).values():
            name = " or ".join(setting.variables)
            if setting.required:
                needed.setdefault(name, []).append(reader)
            unset = setting.default in (None, "None")
            facts.setdefault(
                name, "optional" if unset else f"optional, {setting.default}"
            )
    for name, readers in needed.items():
        facts[name] = f"required by {' and '.join(readers)}"
    tests = tests_url(folder)
    facts[tests.partition(",")[0]] = "optional, for the tests"
    return facts


def env_file_section(folder: Path) -> Facts:
    """Read what Compose takes from .env."""
    return env_file_facts(folder)


def round_trip_section(folder: Path) -> Facts:
    """Compute the round trips."""
    return dict(round_trip_facts(Engine(folder)))


SECTIONS: dict[str, Callable[[Path], Facts]] = {
    "Engine": engine_section,
    "Statement caching": caching_section,
    "URLs": url_section,
    "TLS": tls_section,
    "Compose services": compose_section,
    "Environment variables": variable_section,
    "Variables in .env, for Compose": env_file_section,
    "Round trips per request": round_trip_section,
}


def read_section(read: Callable[[Path], Facts], folder: Path) -> Facts:
    """Read a section. A person may have rewritten what it is read from."""
    try:
        return read(folder)
    except (UnreadableError, OSError) as error:
        return {UNREADABLE: str(error)}


def decisions(left: Path, right: Path) -> list[Decision]:
    """Return what both projects decided, side by side."""
    found = []
    for section, read in SECTIONS.items():
        mine, theirs = read_section(read, left), read_section(read, right)
        found += [
            Decision(section, name, mine.get(name, ABSENT), theirs.get(name, ABSENT))
            for name in merged(list(mine), list(theirs))
        ]
    return found


def merged(mine: list[str], theirs: list[str]) -> list[str]:
    """Merge two lists of names; what only one has stays beside its neighbours."""
    names: list[str] = []
    rest = iter(theirs)
    for name in mine:
        if name in theirs and name not in names:
            before = []
            for other in rest:
                if other == name:
                    break
                before.append(other)
            names += [other for other in before if other not in names]
        names.append(name)
    return list(dict.fromkeys(chain(names, theirs)))
