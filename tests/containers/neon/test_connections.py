"""A pooled and a direct host with TLS, and the URLs that Neon's console prints.

Each driver, which connects in its own way, and each way to migrate. The pool decides
nothing here.
"""

import re

import pytest

from lab.neon.look_alike import (
    CA_IN_CONTAINER,
    DATABASE,
    DIRECT_HOST,
    FOREIGN_HOST,
    HIDDEN_POOLED_HOST,
    PASSWORD,
    POOLED_HOST,
    Contact,
    NeonService,
    Trial,
    connection_string,
    url,
)
from tests.containers.neon.endpoints import ALL_VARIANTS, Report, Services, say

OLDEST_PGBOUNCER = (1, 24)
NEON_SETTINGS = {
    "pool_mode": "transaction",
    "max_client_conn": "10000",
    "max_prepared_statements": "1000",
    "query_wait_timeout": "120",
}
CERTIFICATE_ERROR = "certificate verify failed"
BINDING_ERROR = "channel binding is required, but server did not offer"
NAME_ERRORS = {"asyncpg": "Hostname mismatch", "psycopg": "does not match host name"}
POOLED_AS_DIRECT = (
    "DATABASE_URL_DIRECT names Neon's pooled endpoint (-pooler), which cannot run"
    " migrations. Switch off connection pooling"
)

VARIANTS = [ALL_VARIANTS[0], ALL_VARIANTS[1]]
ASYNCPG = [variant for variant in VARIANTS if variant.driver == "asyncpg"]
PSYCOPG = [variant for variant in VARIANTS if variant.driver == "psycopg"]
MIGRATE = ("sh", "scripts/migrate.sh")


@pytest.fixture(params=VARIANTS, ids=str)
def service(request: pytest.FixtureRequest, services: Services) -> NeonService:
    """Run the test for every service."""
    return services[request.param]


# The look-alike is what it says.


def test_pooler_has_neons_published_settings(services: Services) -> None:
    endpoint = services[VARIANTS[0]].endpoint
    admin = url(POOLED_HOST, sslmode="require").replace(f"/{DATABASE}?", "/pgbouncer?")

    version_code, version = endpoint.client(admin, "SHOW VERSION")
    code, output = endpoint.client(admin, "SHOW CONFIG")

    assert (version_code, code) == (0, 0), version + output
    number = re.search(r"(\d+)\.(\d+)", version)
    assert number
    assert (int(number[1]), int(number[2])) >= OLDEST_PGBOUNCER
    settings = dict(line.split("|")[:2] for line in output.splitlines())
    most = int(endpoint.query("SHOW max_connections"))
    assert {name: settings[name] for name in NEON_SETTINGS} == NEON_SETTINGS
    assert settings["default_pool_size"] == str(int(0.9 * most))
    assert settings["auth_type"] == "scram-sha-256"
    assert settings["client_tls_sslmode"] == "require"
    assert settings["server_tls_sslmode"] == "verify-full"


def test_both_hosts_refuse_plain_text(services: Services) -> None:
    endpoint = services[VARIANTS[0]].endpoint

    for host in (DIRECT_HOST, POOLED_HOST):
        code, output = endpoint.client(url(host, sslmode="disable"), "SELECT 1")
        assert code != 0
        assert "SSL required" in output or "no encryption" in output


# The service runs.


def test_service_runs_with_only_the_two_urls(
    service: NeonService, table: Report
) -> None:
    compose_file = service.project.read("docker-compose.yml")
    with service.client() as client:
        body = {"name": "Ada", "email": "ada@example.com"}
        created = client.post("/users", json=body)
        assert created.status_code == 201, service.log()
        user = created.json()
        read = client.get(f"/users/{user['id']}")
        ready = client.get("/health/db")

    assert (read.status_code, read.json()) == (200, user)
    for given in (service.pooled_url, service.direct_url):
        assert given.endswith("?sslmode=require&channel_binding=require")
    assert ready.json() == {"status": "healthy", "database": "connected"}
    required = re.findall(r"\$\{(\w+):\?", compose_file)
    assert set(required) == {"NEON_POOLED_URL", "NEON_DIRECT_URL"}
    queries = [
        contact
        for contact in service.endpoint.contacts()
        if contact.application == service.slug
    ]
    assert any("INSERT INTO users" in contact.text for contact in queries)
    assert {contact.host for contact in queries} == {service.endpoint.pooler_address()}
    shown = service.pooled_url.replace(PASSWORD, "***")
    say(table, service.variant, f"runs on {shown}")


def test_migrations_reach_the_direct_host_alone(
    service: NeonService, table: Report
) -> None:
    found = migration_hosts(service, service.contacts_at_start)
    pooler = service.endpoint.pooler_address()
    text = "\n".join(contact.text for contact in service.contacts_at_start)

    assert "INSERT INTO alembic_version" in text
    assert found
    assert pooler not in found
    # Before its first request nothing of the service came to PgBouncer at all.
    assert {contact.host for contact in service.contacts_at_start} == found
    assert service.logins_at_start == 0
    say(
        table,
        service.variant,
        f"migrations: {len(service.contacts_at_start)} lines in the direct server's"
        " log, 0 clients at PgBouncer",
    )


def test_migrations_through_the_pooler_would_be_seen(service: NeonService) -> None:
    logins = service.endpoint.pooler_logins()
    hidden = connection_string(
        HIDDEN_POOLED_HOST, channel_binding=service.variant.driver == "asyncpg"
    )

    trial = service.run(("alembic", "upgrade", "head"), DATABASE_URL_DIRECT=hidden)

    assert trial.exit_code == 0, trial.output
    found = migration_hosts(service, service.endpoint.contacts())
    assert service.endpoint.pooler_address() in found
    assert service.endpoint.pooler_logins() > logins


def migration_hosts(service: NeonService, contacts: list[Contact]) -> set[str]:
    """Return the addresses that the service's migrations came from."""
    application = f"{service.slug}-migrations"
    return {contact.host for contact in contacts if contact.application == application}


# Certificates and channel binding.


@pytest.mark.parametrize("service", ASYNCPG, ids=str, indirect=True)
def test_asyncpg_refuses_the_console_string_of_an_unknown_authority(
    service: NeonService,
) -> None:
    console = connection_string(POOLED_HOST)

    refused = service.try_out(known_authority=False, DATABASE_URL=console)
    accepted = service.try_out(DATABASE_URL=console)
    migration = service.run(
        MIGRATE, known_authority=False, DATABASE_URL_DIRECT=service.direct_url
    )

    assert_refused(refused, CERTIFICATE_ERROR)
    assert_failed(migration, CERTIFICATE_ERROR)
    assert accepted.status == 200, accepted.output


def test_verify_full_refuses_an_unknown_authority(service: NeonService) -> None:
    strict = url(POOLED_HOST, sslmode="verify-full")

    refused = service.try_out(known_authority=False, DATABASE_URL=strict)
    accepted = service.try_out(DATABASE_URL=strict)

    assert_refused(refused, CERTIFICATE_ERROR)
    assert accepted.status == 200, accepted.output
    named = url(POOLED_HOST, sslmode="verify-full", sslrootcert=CA_IN_CONTAINER)
    assert service.try_out(DATABASE_URL=named).status == 200


def test_verify_full_refuses_a_name_that_the_certificate_lacks(
    service: NeonService,
) -> None:
    trial = service.try_out(DATABASE_URL=url(FOREIGN_HOST, sslmode="verify-full"))

    assert_refused(trial, NAME_ERRORS[service.variant.driver])


def test_sslmode_require_alone_takes_any_certificate(service: NeonService) -> None:
    loose = connection_string(POOLED_HOST, channel_binding=False)

    trial = service.try_out(known_authority=False, DATABASE_URL=loose)

    assert trial.status == 200, trial.output


@pytest.mark.parametrize("service", PSYCOPG, ids=str, indirect=True)
def test_psycopg_refuses_a_server_that_cannot_bind(service: NeonService) -> None:
    unbound = connection_string(HIDDEN_POOLED_HOST, channel_binding=False)

    hidden = connection_string(HIDDEN_POOLED_HOST)

    refused = service.try_out(DATABASE_URL=hidden)
    migration = service.run(MIGRATE, DATABASE_URL_DIRECT=hidden)

    assert_refused(refused, BINDING_ERROR)
    assert_failed(migration, BINDING_ERROR)
    assert service.try_out(DATABASE_URL=unbound).status == 200
    for host in (POOLED_HOST, DIRECT_HOST):
        assert service.try_out(DATABASE_URL=connection_string(host)).status == 200


def assert_refused(trial: Trial, reason: str) -> None:
    """The service answered 503 and its log, not the response, says why."""
    assert trial.status == 503, trial.output
    assert reason in trial.output
    assert PASSWORD not in trial.output


def assert_failed(trial: Trial, reason: str) -> None:
    """The command failed, and says why."""
    assert trial.exit_code != 0
    assert reason in trial.output
    assert PASSWORD not in trial.output


# The pooled host as the direct one.


def test_pooled_host_as_the_direct_url_is_refused(service: NeonService) -> None:
    contacts, logins = service.endpoint.contacts(), service.endpoint.pooler_logins()

    trial = service.run(MIGRATE, DATABASE_URL_DIRECT=service.pooled_url)

    assert_failed(trial, POOLED_AS_DIRECT)
    assert "Traceback" not in trial.output
    assert service.endpoint.contacts() == contacts
    assert service.endpoint.pooler_logins() == logins
