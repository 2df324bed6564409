"""The engine: how the service connects to its database."""
{% if cookiecutter.driver == 'psycopg' %}
from functools import partial
{%- endif %}
{%- if cookiecutter.database == 'neon' and cookiecutter.__pool == 'nullpool' %}
from logging import getLogger
{%- endif %}
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
{% if cookiecutter.__pool == 'queuepool' %}
from app.core.checks import check_before_use, watch
{%- elif cookiecutter.__pool == 'nullpool' %}
from app.core.checks import watch
{%- endif %}
from app.core.config import settings
from app.core.driver import connect, connect_arguments
{%- if cookiecutter.database == 'neon' and cookiecutter.__pool == 'nullpool' %}
from app.core.neon import is_direct
{%- endif %}
{%- if cookiecutter.__pool == 'queuepool' %}
from app.core.pool import FairQueuePool
{%- elif cookiecutter.__pool == 'nullpool' %}
from app.core.pool import FairNullPool
{%- endif %}
{%- if cookiecutter.database == 'neon' and cookiecutter.__pool == 'nullpool' %}

if is_direct(settings.database_url):
    getLogger(__name__).warning(
        "DATABASE_URL names Neon's direct endpoint, where every request opens one of"
        " the few connections that the server has. Use the pooled URL (-pooler)."
    )
{%- endif %}


def create_engine(**options: Any) -> AsyncEngine:
    """An engine on DATABASE_URL; `options` say how it pools its connections."""
    engine = create_async_engine(
        settings.database_url.url,
        echo=settings.debug,
        hide_parameters=not settings.debug,
        connect_args={
            **connect_arguments(
                settings.database_url.parameters,
                application_name="{{ cookiecutter.project_slug }}",
                connect_timeout=settings.db_connect_timeout,
            ),
{%- if cookiecutter.driver == 'asyncpg' %}
            "async_creator_fn": connect,
            "command_timeout": settings.db_command_timeout,
{%- if cookiecutter.__pooled_endpoint %}
            # The pooler hands a statement to a server that never prepared it, and one
            # cache alone is worse than none: https://github.com/MagicStack/asyncpg/pull/1245
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
{%- endif %}
{%- elif cookiecutter.driver == 'psycopg' %}
            "async_creator_fn": partial(connect, settings.db_command_timeout),
{%- if cookiecutter.__pooled_endpoint %}
            # The pooler hands a statement to a server that never prepared it:
            # https://www.psycopg.org/psycopg3/docs/advanced/prepare.html
            "prepare_threshold": None,
{%- endif %}
{%- endif %}
        },
        **options,
    )
    watch(engine)
    return engine


engine = create_engine(
{%- if cookiecutter.__pool == 'nullpool' %}
    poolclass=FairNullPool,
    max_connections=settings.db_max_connections,
    pool_timeout=settings.db_pool_timeout,
{%- elif cookiecutter.__pool == 'queuepool' %}
    poolclass=FairQueuePool,
    pool_size=settings.db_pool_size,
    max_overflow=settings.db_max_overflow,
    pool_timeout=settings.db_pool_timeout,
    pool_recycle=settings.db_pool_recycle,
{%- endif %}
)
{%- if cookiecutter.__pool == 'queuepool' %}
check_before_use(engine)
{%- endif %}

# The same pool without transactions: BEGIN and COMMIT cost a round trip each.
read_engine = engine.execution_options(isolation_level="AUTOCOMMIT")

# Readiness is not load: its check does not wait for a connection of the pool.
readiness_engine = create_engine(poolclass=NullPool, isolation_level="AUTOCOMMIT")
