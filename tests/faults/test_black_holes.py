"""A network or a server that answers nothing: every request ends, and in time.

Every database, pool and driver: each has time limits of its own.
"""

import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import httpx2
import pytest

from lab.clients import OTHERS, Load, load
from lab.prepared import api_seconds
from lab.projects import Bakery
from lab.proxies import Proxy
from lab.services import RunningService, running_service
from lab.variants import Variant
from lab.waiting import wait_until
from tests.faults.sites import (
    CLIENTS,
    DIRECT,
    LONGEST,
    UNHANDLED,
    VARIANTS,
    Environments,
    Servers,
    Site,
    Trial,
    assert_survived,
    clients_left_in_transaction,
    command_options,
    held_requests,
    held_users,
    line,
    lines_of,
    under_load,
    wait_for_answers,
)

HEALTH_SECONDS = 1.5  # The most that /health/db may take.
HOLES = ["before", "behind"]
PROBES = 3

Probe = tuple[int, float]


@dataclass
class Hole:
    """What became of what a black-holed network met, beside the load."""

    held: dict[Variant, httpx2.Response]
    early_probes: dict[Variant, list[Probe]]
    late_probes: dict[Variant, list[Probe]]
    connected: list[int]
    left: dict[Variant, int] = field(default_factory=dict)

    def probes(self, variant: Variant) -> list[Probe]:
        """Return what the probes of a service were told."""
        return self.early_probes[variant] + self.late_probes[variant]


@dataclass
class HoleTrial:
    """What a hole did to each service under load, and to other requests."""

    services: dict[Variant, Trial]
    hole: Hole


def probe(site: Site) -> list[Probe]:
    """Ask for readiness, again and again; return the statuses and the seconds."""
    url = f"{site.service.url}/health/db"
    answers = [httpx2.get(url, timeout=60, trust_env=False) for _ in range(PROBES)]
    return [(each.status_code, each.elapsed.total_seconds()) for each in answers]


def probe_all(sites: list[Site]) -> dict[Variant, list[Probe]]:
    """Probe all services at once, while nobody else asks them anything."""
    with ThreadPoolExecutor(len(sites)) as threads:
        found = list(threads.map(probe, sites))
    return {site.variant: each for site, each in zip(sites, found, strict=True)}


def fall_into_hole(sites: list[Site], proxies: list[Proxy], loads: list[Load]) -> Hole:
    """Forward nothing for a while, first to requests that the server works on."""
    for running in loads:
        running.pause()
    with ExitStack() as stack:
        held = [
            stack.enter_context(held_requests(site.service, site.database, 1))
            for site in sites
        ]
        accepted = [way.accepted for way in proxies]
        for way in proxies:
            stack.callback(way.let_through)
            way.black_hole()
        for requests in held:
            requests.let_go()
        # The pools are full of connections that worked a moment ago.
        early = probe_all(sites)
        answers = [requests.answers()[0] for requests in held]
        for running in loads:
            running.resume()
        wait_for_answers(loads, 2 * CLIENTS, seconds=120)
        for running in loads:
            running.pause()
        late = probe_all(sites)
        connected = [
            way.accepted - before for way, before in zip(proxies, accepted, strict=True)
        ]
    for running in loads:
        running.resume()
    by_variant = {site.variant: a for site, a in zip(sites, answers, strict=True)}
    return Hole(by_variant, early, late, connected)


@pytest.fixture(scope="module")
def hole_trials(
    servers: Servers, proxied_sites: list[Site], report: list[str]
) -> Callable[[str], HoleTrial]:
    """Return what a black-holed network did to every service; it happens once."""

    @cache
    def happen(place: str) -> HoleTrial:
        proxies = {
            "before": [servers.to_server, servers.to_bouncer],
            "behind": [servers.behind_bouncer],
        }[place]
        affected = [
            site
            for site in proxied_sites
            if place == "before" or site.variant.database == "pgbouncer"
        ]
        holes: list[Hole] = []
        found = under_load(
            affected,
            lambda loads: holes.append(fall_into_hole(affected, proxies, loads)),
        )
        [hole] = holes
        hole.left = {site.variant: held_users(site.database) for site in affected}
        for variant, trial in found.items():
            slowest = max(seconds for _, seconds in hole.probes(variant))
            trial.note = f", /health/db in {slowest:.2f} s"
        report.extend(lines_of(f"black hole {place}", found))
        return HoleTrial(found, hole)

    return happen


@pytest.mark.parametrize(
    ("place", "variant"),
    [
        (place, variant)
        for place in HOLES
        for variant in VARIANTS
        if place == "before" or variant.database == "pgbouncer"
    ],
    ids=str,
)
def test_black_hole(
    hole_trials: Callable[[str], HoleTrial], place: str, variant: Variant
) -> None:
    found = hole_trials(place)
    trial, hole = found.services[variant], found.hole
    assert trial.record.unexpected(), "the hole swallowed nothing"
    assert_survived(trial)
    assert trial.record.slowest() <= LONGEST
    # In the middle of a query: the server did its work, and its answer got lost.
    held = hole.held[variant]
    assert (held.status_code, bool(held.headers["Retry-After"])) == (503, True)
    assert held.elapsed.total_seconds() <= LONGEST
    assert hole.left[variant] == 0
    # As they connect: the proxy let them in, and passed on nothing.
    assert min(hole.connected) > 0
    probes = hole.probes(variant)
    assert {status for status, _ in probes} == {503}
    assert max(seconds for _, seconds in probes) <= HEALTH_SECONDS


def test_sigterm_in_the_hole(
    servers: Servers,
    bake: Bakery,
    environments: Environments,
    tmp_path: Path,
    report: list[str],
) -> None:
    """With a server that answers nothing the exit is within the grace period, too."""
    way = servers.to_server

    def grace(variant: Variant) -> int:
        return api_seconds(bake(variant), "stop_grace_period")

    with ExitStack() as stack:
        stack.callback(way.let_through)
        running: dict[Variant, tuple[RunningService, Load]] = {}
        for variant in DIRECT:
            service = stack.enter_context(
                running_service(
                    environments(variant.driver),
                    bake(variant).path,
                    tmp_path / f"{variant}.log",
                    *command_options(bake, variant),
                    DATABASE_URL=servers.proxied_url(variant, servers.fresh_database()),
                )
            )
            clients = stack.enter_context(load(service.url, clients=CLIENTS))
            running[variant] = service, clients
        for _, clients in running.values():
            clients.wait_for_rounds(2)
        way.black_hole()
        time.sleep(1)
        asked = time.monotonic()
        for service, _ in running.values():
            service.process.send_signal(signal.SIGTERM)
        took = {}
        for variant, (service, _) in running.items():
            service.process.wait(3 * grace(variant))
            took[variant] = time.monotonic() - asked
    for variant, (service, clients) in running.items():
        record = clients.record
        report.append(
            line(
                "SIGTERM in a hole",
                variant,
                f"{record.clients:3} clients, {len(record.answers):5} requests,"
                f" {len(record.unexpected()):4} refused, exit in {took[variant]:4.1f} s",
            )
        )
        assert took[variant] < grace(variant)
        assert 500 not in {answer.status for answer in record.answers}
        assert UNHANDLED not in service.log.read_text()


def outlast_the_time_limit(site: Site) -> None:
    """Let commands take too long: 503, and their connections serve nobody else."""
    site.database.execute("TRUNCATE users")
    for _ in range(2):
        with held_requests(site.service, site.database, 3) as held:
            answers = [request.result() for request in held.requests]
            assert {answer.status_code for answer in answers} == {503}
            made = httpx2.post(
                f"{site.service.url}/users",
                json={"name": "next", "email": f"{time.monotonic_ns()}{OTHERS}"},
                timeout=60,
                trust_env=False,
            )
            assert (made.status_code, made.json()["name"]) == (201, "next")
    assert site.database.execute("SELECT DISTINCT name FROM users") == [("next",)]
    wait_until(lambda: clients_left_in_transaction(site) == 0, "no transaction")


@pytest.fixture(scope="module")
def slow_commands(proxied_sites: list[Site]) -> dict[Variant, Future[None]]:
    """Let every service outlast its time limit, all at once, for they only wait."""
    with ThreadPoolExecutor(len(proxied_sites)) as threads:
        return {
            site.variant: threads.submit(outlast_the_time_limit, site)
            for site in proxied_sites
        }


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_slow_command(
    slow_commands: dict[Variant, Future[None]], variant: Variant
) -> None:
    slow_commands[variant].result()
