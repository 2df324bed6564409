"""A collector gets the spans of requests and statements, and metrics of the pool.

The pool decides what is measured, and the driver what a failure is: both take turns.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from lab.otlp import Receiver, attributes, otlp_receiver
from lab.prepared import chosen
from lab.projects import Bakery
from lab.servers import Database
from lab.services import RunningService, ServiceEnvironment, running_service
from lab.waiting import wait_until

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
PREFIX = "db.client.connection."
EMAIL = "ada@example.com"
pytestmark = pytest.mark.everything
SDK_IS_LOADED = """
import sys
import app.main
sys.exit("opentelemetry.sdk" in sys.modules or "google.protobuf" in sys.modules)
"""
Environments = Callable[[str], ServiceEnvironment]


@pytest.fixture(params=["queuepool-asyncpg", "nullpool-psycopg"], scope="module")
def observed(
    request: pytest.FixtureRequest,
    bake: Bakery,
    environments: Environments,
    migrated: Callable[[], Database],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RunningService, Receiver, Database]]:
    """Serve one connection at a time, with a collector."""
    pool, driver = request.param.split("-")
    database = migrated()
    with (
        otlp_receiver() as receiver,
        running_service(
            environments(driver),
            bake(chosen("postgres", pool, driver)).path,
            tmp_path_factory.mktemp("observed") / "log",
            DATABASE_URL=database.url,
            DB_POOL_SIZE="1",
            DB_MAX_OVERFLOW="0",
            DB_MAX_CONNECTIONS="1",
            DB_POOL_TIMEOUT="2",
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_BSP_SCHEDULE_DELAY="50",
            OTEL_METRIC_EXPORT_INTERVAL="50",
        ) as service,
    ):
        yield service, receiver, database


def spans(receiver: Receiver, name: str, number: int = 1) -> list[Any]:
    """Wait for spans of the caller's trace by their name's start; return them."""

    def found() -> list[Any]:
        return [
            span
            for span in receiver.spans
            if span.name.startswith(name) and span.trace_id.hex() == TRACE
        ]

    wait_until(lambda: len(found()) >= number, f"{number} spans {name}")
    return found()


def test_spans_of_a_request_and_its_statements(
    observed: tuple[RunningService, Receiver, Database],
) -> None:
    service, receiver, database = observed
    user = {"name": "Ada", "email": EMAIL}
    for _ in range(2):
        httpx2.post(
            f"{service.url}/users",
            json=user,
            headers={"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-ID": "ada"},
        )

    requests = spans(receiver, "POST /users", 2)
    assert {span.parent_span_id.hex() for span in requests} == {CALLER}
    codes = [attributes(span)["http.response.status_code"] for span in requests]
    assert codes == [201, 409]
    inserted, refused = spans(receiver, "INSERT ", 2)
    parents = {span.span_id: span for span in spans(receiver, "fastapi.endpoint", 2)}
    assert parents[refused.parent_span_id].parent_span_id == requests[1].span_id
    about = attributes(inserted)
    text = about.pop("db.query.text")
    assert about == {
        "db.system.name": "postgresql",
        "db.namespace": database.name,
        "db.operation.name": "INSERT",
        "server.address": "127.0.0.1",
    }
    assert str(text).startswith("INSERT INTO users (name, email,")
    assert EMAIL not in str(receiver.spans)
    failure = attributes(refused)
    assert failure["db.response.status_code"] == failure["error.type"] == "23505"
    assert (inserted.status.code, refused.status.code) == (0, 2)
    assert receiver.services == {"my-service"}
    assert f"[ada {TRACE}] 409 from write_user" in service.log.read_text()


def numbers(receiver: Receiver, name: str) -> dict[str, int]:
    """Return the values of a metric of the pool by their states."""
    metric = receiver.metrics.get(PREFIX + name)
    points = metric.sum.data_points if metric else []
    return {
        str(attributes(point).get(f"{PREFIX}state", "")): point.as_int
        for point in points
    }


def seconds(receiver: Receiver, name: str) -> tuple[int, float]:
    """Return how often something was measured, and its sum."""
    [point] = receiver.metrics[PREFIX + name].histogram.data_points
    assert attributes(point) == {f"{PREFIX}pool.name": "my-service"}
    return point.count, point.sum


def test_metrics_of_a_pool_that_is_held(
    observed: tuple[RunningService, Receiver, Database],
) -> None:
    service, receiver, database = observed
    users = f"{service.url}/users"
    with psycopg.connect(database.url) as connection:
        connection.execute("LOCK TABLE users")
        holder = threading.Thread(target=lambda: httpx2.get(users, timeout=30))
        holder.start()
        wait_until(lambda: numbers(receiver, "count")["used"] == 1, "a holder")
        waiter = threading.Thread(target=lambda: httpx2.get(users, timeout=30))
        waiter.start()
        wait_until(lambda: numbers(receiver, "pending_requests") == {"": 1}, "a waiter")
        waiter.join()
        wait_until(lambda: numbers(receiver, "timeouts") == {"": 1}, "its end")
        wait_until(lambda: numbers(receiver, "pending_requests") == {"": 0}, "no more")
    holder.join()
    wait_until(lambda: numbers(receiver, "count")["used"] == 0, "the end")

    assert numbers(receiver, "max") == {"": 1}
    assert seconds(receiver, "use_time")[1] > 2
    assert seconds(receiver, "wait_time")[1] < 1
    assert 0 < seconds(receiver, "create_time")[1] < 2
    assert seconds(receiver, "use_time")[0] == seconds(receiver, "wait_time")[0]


def test_idle_connections_are_counted(
    observed: tuple[RunningService, Receiver, Database],
) -> None:
    service, receiver, _ = observed
    httpx2.get(f"{service.url}/users")
    wait_until(lambda: numbers(receiver, "count").get("used") == 0, "a measurement")

    states = numbers(receiver, "count")
    assert states in ({"used": 0, "idle": 1}, {"used": 0})


def test_nothing_is_loaded_without_a_collector(
    bake: Bakery, environments: Environments, tmp_path: Path
) -> None:
    (tmp_path / "loaded.py").write_text(SDK_IS_LOADED)
    environments("asyncpg").run(
        bake(chosen("postgres", "queuepool", "asyncpg")).path,
        "loaded",
        DATABASE_URL="postgresql://app@127.0.0.1:1/app",
        PYTHONPATH=str(tmp_path),
    )
