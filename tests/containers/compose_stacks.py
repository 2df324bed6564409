"""Rendered services under Docker Compose, of a few variants that hold every pair."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lab.containers import docker_network
from lab.copies import working_copy
from lab.pairs import covering_variants
from lab.projects import Bakery
from lab.stacks import Stack, hosted_stand_in, running_stack
from lab.supabase import supabase_look_alike
from lab.variants import CHOICES, FACTS, VARIANTS, Variant, in_turn

# Of the stacks and images of this process. The services have one slug, so that Docker
# installs their packages once for each driver and each Python.
NAME = f"compose-suite-{os.getpid()}"
QUESTIONS = ("database", "pool", "driver", "migrate_service")
COVERING = in_turn(covering_variants(VARIANTS, QUESTIONS))
MIGRATING = [variant for variant in COVERING if variant.migrate_service]
DRIVERS = CHOICES["driver"]

# Nothing in it needs percent-encoding; Compose would replace all but the first $.
DOLLAR_PASSWORD = "a$$b$HOME${c}d$"  # noqa: S105 (of a container of this file)
UPGRADE = "def upgrade() -> None:\n"
FAILURE = "this migration fails on purpose"
LAST_MESSAGE = "Migrations complete."
LOOK_ALIKES = {"supabase": supabase_look_alike}
MakeStack = Callable[..., Stack]


@contextmanager
def configured_stack(
    bake: Bakery, variant: Variant, name: str, settings: dict[str, str | None]
) -> Iterator[Stack]:
    """Render a variant, copy it, and fill in its `.env`; remove its stack at the end."""
    with ExitStack() as cleanup:
        folder = cleanup.enter_context(rendered(bake, variant))
        if names := FACTS[variant.database]["fill_in"]:
            network = cleanup.enter_context(docker_network(f"{name}-hosted"))
            play = LOOK_ALIKES.get(variant.database, hosted_stand_in)
            urls = cleanup.enter_context(play(network, DOLLAR_PASSWORD))
            filled = {key: f"'{url}'" for key, url in zip(names, urls, strict=True)}
            settings = {**filled, **settings}
            override = f"networks: {{default: {{name: {network}, external: true}}}}\n"
            (folder / "docker-compose.override.yml").write_text(override)
        stack = cleanup.enter_context(running_stack(folder, name))
        stack.configure(**settings)
        yield stack


@contextmanager
def rendered(bake: Bakery, variant: Variant) -> Iterator[Path]:
    """Render a variant, and return a copy that a test may change."""
    with tempfile.TemporaryDirectory() as folder:
        yield working_copy(bake(variant), Path(folder))


def first_with(variants: list[Variant], **answers: object) -> Variant:
    """Return the first variant that has the given answers."""
    return next(
        variant for variant in variants if answers.items() <= vars(variant).items()
    )


def assert_no_warnings(stack: Stack) -> None:
    """Check both Compose files, which Compose must take without a word."""
    for options in ([], ["-f", "docker-compose.test.yml"]):
        checked = stack.compose(*options, "config", "--quiet")
        assert (checked.stdout, checked.stderr) == ("", ""), options


def stop_api(stack: Stack) -> None:
    """Stop the API, which must end by itself. After the grace period it is killed: 137."""
    stack.compose("stop", "api")
    state = stack.container("api")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0), stack.logs("api")
