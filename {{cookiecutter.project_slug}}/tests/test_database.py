"""How the engine connects and pools."""

from logging import INFO, getLogger
from typing import Any

import pytest
from sqlalchemy import event

from app.core.database import engine
{%- if cookiecutter.__pool == 'queuepool' %}
from app.core.pool import FairQueuePool
{%- elif cookiecutter.__pool == 'nullpool' %}
from app.core.pool import FairNullPool
{%- endif %}


class ConnectionAttemptError(Exception):
    """Raised instead of connecting; its argument is what the driver was given."""


@pytest.fixture
async def connect_keywords() -> dict[str, Any]:
    """The keyword arguments that the engine gives to the driver."""

    def intercept(_dialect: Any, _entry: Any, _args: Any, keywords: Any) -> None:
        raise ConnectionAttemptError(keywords)

    event.listen(engine.sync_engine, "do_connect", intercept)
    try:
        with pytest.raises(ConnectionAttemptError) as attempt:
            await engine.connect()
    finally:
        event.remove(engine.sync_engine, "do_connect", intercept)
    keywords: dict[str, Any] = attempt.value.args[0]
    return keywords
{% if cookiecutter.__pool == 'nullpool' %}

def test_pool() -> None:
    pool = engine.pool
    assert isinstance(pool, FairNullPool)
    assert pool.queue.places == 20
    assert pool.queue.timeout == 30
{%- elif cookiecutter.__pool == 'queuepool' %}

def test_pool() -> None:
    pool = engine.pool
    assert isinstance(pool, FairQueuePool)
    assert pool.queue.places == 15
    assert pool.size() == 5
    assert pool._max_overflow == 10
    assert pool.timeout() == 30
    assert pool._recycle == {{ cookiecutter.__pool_recycle }}
{%- endif %}


def test_statements_are_not_logged() -> None:
    assert not getLogger("sqlalchemy.engine.Engine").isEnabledFor(INFO)


def test_application_name(connect_keywords: dict[str, Any]) -> None:
    name = "{{ cookiecutter.project_slug }}"
{%- if cookiecutter.driver == 'asyncpg' %}
    assert connect_keywords["dsn"] == f"postgresql://?application_name={name}"
{%- elif cookiecutter.driver == 'psycopg' %}
    assert connect_keywords["application_name"] == name
{%- endif %}


def test_time_limits(connect_keywords: dict[str, Any]) -> None:
{%- if cookiecutter.driver == 'asyncpg' %}
    assert connect_keywords["timeout"] == 15
    assert connect_keywords["command_timeout"] == 30
{%- elif cookiecutter.driver == 'psycopg' %}
    assert connect_keywords["connect_timeout"] == 15
    assert connect_keywords["async_creator_fn"].args == (30,)
{%- endif %}
{%- if cookiecutter.__pooled_endpoint %}


def test_statements_are_not_cached(connect_keywords: dict[str, Any]) -> None:
{%- if cookiecutter.driver == 'asyncpg' %}
    assert connect_keywords["statement_cache_size"] == 0
    assert connect_keywords["prepared_statement_cache_size"] == 0
{%- elif cookiecutter.driver == 'psycopg' %}
    assert connect_keywords["prepare_threshold"] is None
{%- endif %}
{%- endif %}
