"""Spans of statements and metrics of the pool, under OpenTelemetry's names.

FastAPI makes the spans of requests and exports all of it:
https://opentelemetry.io/docs/specs/semconv/db/
"""

import os
from collections.abc import Callable
from time import monotonic, time
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Histogram, Observation
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.config import settings
from app.core.fair_queue import FairQueue
from app.core.holders import Holder

SERVICE = "{{ cookiecutter.project_slug }}"
PREFIX = "db.client.connection"
POOL = {f"{PREFIX}.pool.name": SERVICE}
Observe = Callable[[CallbackOptions], list[Observation]]
SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)

tracer = trace.get_tracer("app")
meter = metrics.get_meter("app")


def observe(engine: AsyncEngine) -> None:
    """Watch what `engine` does, if OTEL_EXPORTER_OTLP_ENDPOINT is set."""
    if settings.otel_exporter_otlp_endpoint is None:
        return
    os.environ.setdefault("OTEL_SERVICE_NAME", SERVICE)
    trace_statements(engine)
    measure_pool(engine)


def trace_statements(engine: AsyncEngine) -> None:
    """Make a span of each statement, without the values that it is sent with."""
    database = engine.url.database or engine.url.username or ""
    place = {"db.system.name": "postgresql", "db.namespace": database}
    if engine.url.host:
        place["server.address"] = engine.url.host

    def begin(statement: str, context: Any, **_: object) -> None:
        operation = "".join(statement.split(maxsplit=1)[:1]).upper()
        about = {"db.operation.name": operation, "db.query.text": statement}
        name, kind = f"{operation} {database}", trace.SpanKind.CLIENT
        context.span = tracer.start_span(name, kind=kind, attributes=place | about)

    def end(context: Any, **_: object) -> None:
        context.span.end()

    def fail(failure: ExceptionContext) -> None:
        span = getattr(failure.execution_context, "span", trace.INVALID_SPAN)
        if span.is_recording():
            error = failure.original_exception
            if sqlstate := getattr(error, "sqlstate", None):
                span.set_attribute("db.response.status_code", sqlstate)
            span.set_attribute("error.type", sqlstate or type(error).__qualname__)
            span.set_status(trace.StatusCode.ERROR)
            span.end()

    event.listen(engine.sync_engine, "before_cursor_execute", begin, named=True)
    event.listen(engine.sync_engine, "after_cursor_execute", end, named=True)
    # First, because another listener may raise an error of its own.
    event.listen(engine.sync_engine, "handle_error", fail, insert=True)


def histogram(name: str) -> Histogram:
    """A metric of the pool in seconds."""
    return meter.create_histogram(
        f"{PREFIX}.{name}", "s", explicit_bucket_boundaries_advisory=SECONDS
    )


wait_time, use_time = histogram("wait_time"), histogram("use_time")
create_time = histogram("create_time")
timeouts = meter.create_counter(f"{PREFIX}.timeouts", "{timeout}")


class MeasuredQueue(FairQueue):
    """A queue that measures how long connections are waited for and used."""

    def enter(self) -> Holder:
        """Take a place, as the queue without measures does."""
        asked = monotonic()
        try:
            holder = super().enter()
        except PoolTimeoutError:
            timeouts.add(1, POOL)
            raise
        wait_time.record(holder.since - asked, POOL)
        return holder

    def leave(self, holder: Holder) -> None:
        """Hand the place of `holder` on."""
        use_time.record(monotonic() - holder.since, POOL)
        super().leave(holder)


def measure_pool(engine: AsyncEngine) -> None:
    """Measure the pool of `engine`, which nobody uses yet."""
    pool: Any = engine.pool
    queue = pool.queue = MeasuredQueue(pool.queue.places, pool.queue.timeout)

    def note_creation(_connection: object, record: Any) -> None:
        create_time.record(time() - record.starttime, POOL)

    def observing(read: Callable[[], int], **state: str) -> Observe:
        attributes = POOL | {f"{PREFIX}.{name}": text for name, text in state.items()}
        return lambda _: [Observation(read(), attributes)]

    used = observing(lambda: queue.places - queue.free, state="used")
{%- if cookiecutter.__pool == 'queuepool' %}
    idle = observing(pool.checkedin, state="idle")
{%- endif %}
    most = observing(lambda: queue.places)
    pending = observing(lambda: sum(not turn.done() for turn in list(queue.waiting)))
    for name, callbacks, unit in (
{%- if cookiecutter.__pool == 'queuepool' %}
        ("count", [used, idle], "{connection}"),
{%- elif cookiecutter.__pool == 'nullpool' %}
        ("count", [used], "{connection}"),
{%- endif %}
        ("max", [most], "{connection}"),
        ("pending_requests", [pending], "{request}"),
    ):
        meter.create_observable_up_down_counter(f"{PREFIX}.{name}", callbacks, unit)
    event.listen(engine.sync_engine, "connect", note_creation)
