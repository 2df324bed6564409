"""The engine, its sessions, and the session that a request works in."""

from collections.abc import AsyncIterator
{%- if cookiecutter.driver == 'psycopg' %}
from functools import partial
{%- endif %}
{%- if cookiecutter.database == 'neon' and cookiecutter.__pool == 'nullpool' %}
from logging import getLogger
{%- endif %}
from typing import Annotated

from fastapi import Depends
{%- if cookiecutter.driver == 'asyncpg' %}
from sqlalchemy import event
{%- endif %}
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
{%- if cookiecutter.__pool == 'nullpool' %}
from sqlalchemy.pool import NullPool
{%- endif %}
from sqlmodel.ext.asyncio.session import AsyncSession

from app.core.config import settings
{%- if cookiecutter.driver == 'asyncpg' %}
from app.core.driver import close_after_timeout, connect, connect_arguments
{%- else %}
from app.core.driver import connect, connect_arguments
{%- endif %}
{%- if cookiecutter.__pool == 'queuepool' %}
from app.core.pool import Admission, SteadyQueuePool, check_before_use
{%- endif %}
{%- if cookiecutter.database == 'neon' and cookiecutter.__pool == 'nullpool' %}
from app.core.neon import is_direct

if is_direct(settings.database_url):
    getLogger(__name__).warning(
        "DATABASE_URL names Neon's direct endpoint, where every request opens one of"
        " the few connections that the server has. Use the pooled URL (-pooler)."
    )
{%- endif %}

engine = create_async_engine(
    settings.database_url.url,
{%- if cookiecutter.__pool == 'nullpool' %}
    poolclass=NullPool,
{%- else %}
    poolclass=SteadyQueuePool,
    pool_size=settings.db_pool_size,
    max_overflow=settings.db_max_overflow,
    pool_timeout=settings.db_pool_timeout,
    pool_recycle=settings.db_pool_recycle,
{%- endif %}
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
{%- else %}
        "async_creator_fn": partial(connect, settings.db_command_timeout),
{%- if cookiecutter.__pooled_endpoint %}
        # The pooler hands a statement to a server that never prepared it:
        # https://www.psycopg.org/psycopg3/docs/advanced/prepare.html
        "prepare_threshold": None,
{%- endif %}
{%- endif %}
    },
)
{%- if cookiecutter.driver == 'asyncpg' %}
event.listen(engine.sync_engine, "handle_error", close_after_timeout)
{%- endif %}

{%- if cookiecutter.__pool == 'queuepool' %}
check_before_use(engine)
admission = Admission(
    settings.db_pool_size, settings.db_max_overflow, settings.db_pool_timeout
)
{%- endif %}

# The same pool without transactions: BEGIN and COMMIT cost a round trip each.
read_engine = engine.execution_options(isolation_level="AUTOCOMMIT")

async_session = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
read_session = async_sessionmaker(
    read_engine, class_=AsyncSession, expire_on_commit=False, autoflush=False
)


async def get_session() -> AsyncIterator[AsyncSession]:
    """A session for one request: committed if the request succeeds, else rolled back.

    An exception from COMMIT reaches the client, since `SessionDep` ends before the
    response is sent.
    """
{%- if cookiecutter.__pool == 'queuepool' %}
    async with admission.place(), async_session() as session:
{%- else %}
    async with async_session() as session:
{%- endif %}
        yield session
        await session.commit()


async def get_read_session() -> AsyncIterator[AsyncSession]:
    """A session for a request that only reads.

    There is no transaction: each statement sees what is committed when it starts, and
    what is added to the session is not written.
    """
{%- if cookiecutter.__pool == 'queuepool' %}
    async with admission.place(), read_session() as session:
{%- else %}
    async with read_session() as session:
{%- endif %}
        yield session


# The default scope ends after the response, when a failed COMMIT cannot be told:
# https://fastapi.tiangolo.com/tutorial/dependencies/dependencies-with-yield/
SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]
ReadSessionDep = Annotated[AsyncSession, Depends(get_read_session, scope="function")]
