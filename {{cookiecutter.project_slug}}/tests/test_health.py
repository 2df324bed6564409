"""Liveness and readiness."""

import asyncio
from time import monotonic

import pytest
from httpx2 import AsyncClient

from app.core import database
from app.routers import health
from tests import needs_postgres, postgres_url
from tests.conftest import bound_to, postgres_engine


async def test_live_needs_no_database(offline_client: AsyncClient) -> None:
    response = await offline_client.get("/health/live")

    assert response.status_code == 200


@needs_postgres
async def test_database_answers(client: AsyncClient) -> None:
    response = await client.get("/health/db")

    assert response.status_code == 200
    assert response.json() == {"status": "healthy", "database": "connected"}


@needs_postgres
@pytest.mark.usefixtures("schema")
async def test_database_has_no_tables(
    offline_client: AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mark = "&" if "?" in postgres_url() else "?"
    engine = postgres_engine(f"{postgres_url()}{mark}options=-csearch_path%3Dnone")
    monkeypatch.setattr(database, "readiness_engine", engine)

    with bound_to(engine):
        users = await offline_client.get("/users")
        ready = await offline_client.get("/health/db")

    assert users.status_code == ready.status_code == 503
    assert ready.json()["database"] == "there are no tables: run alembic upgrade head"
    assert caplog.text.count(": run alembic upgrade head") == 2
    await engine.dispose()


async def test_database_refuses(offline_client: AsyncClient) -> None:
    response = await offline_client.get("/health/db")

    assert response.status_code == 503
    assert response.json() == {"status": "unhealthy", "database": "unavailable"}
    assert int(response.headers["retry-after"]) > 0


async def test_probes_share_a_check(
    offline_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[None] = []

    async def check() -> None:
        checks.append(None)
        await asyncio.sleep(0.1)

    monkeypatch.setattr(health, "look_for_tables", check)
    probes = [offline_client.get("/health/db") for _ in range(10)]
    responses = await asyncio.gather(*probes)

    assert {response.status_code for response in responses} == {200}
    assert len(checks) == 1


async def test_database_is_silent(
    offline_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers: list[asyncio.StreamWriter] = []  # One that nobody keeps is closed.
    server = await asyncio.start_server(
        lambda _, writer: writers.append(writer), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    engine = postgres_engine(f"postgresql://nobody@127.0.0.1:{port}/nothing")
    monkeypatch.setattr(database, "readiness_engine", engine)

    start = monotonic()
    response = await offline_client.get("/health/db")

    assert response.status_code == 503
    assert 1 <= monotonic() - start < 1.5
    for writer in writers:
        writer.close()
    server.close()
