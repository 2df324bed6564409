"""The engine: how the service connects to its database."""

from logging import getLogger
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
{% if cookiecutter.__pool == 'queuepool' %}
from app.core.checks import check_before_use, watch
{%- elif cookiecutter.__pool == 'nullpool' %}
from app.core.checks import watch
{%- endif %}
from app.core.config import settings
from app.core.driver import connect_arguments
{%- if cookiecutter.__pool == 'queuepool' %}
from app.core.pool import FairQueuePool
{%- elif cookiecutter.__pool == 'nullpool' %}
from app.core.pool import FairNullPool
{%- endif %}


def create_engine(**options: Any) -> AsyncEngine:
    """An engine on DATABASE_URL; `options` say how it pools its connections."""
    engine = create_async_engine(
        settings.database_url.url,
        hide_parameters=not settings.debug,
        connect_args=connect_arguments(
            settings.database_url.parameters,
            application_name="{{ cookiecutter.project_slug }}",
            connect_timeout=settings.db_connect_timeout,
            command_timeout=settings.db_command_timeout,
        ),
        **options,
    )
    watch(engine)
    return engine


getLogger("sqlalchemy.engine").setLevel("INFO" if settings.debug else "WARNING")
getLogger("app.core.pool").setLevel("WARNING")  # As SQLAlchemy sets its own pools.

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
