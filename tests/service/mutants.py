"""Defects that somebody might put into a rendered service."""

from collections.abc import Mapping
from dataclasses import dataclass

# A broken service fails its own tests


@dataclass(frozen=True)
class Mutant:
    """A defect that somebody might put into a service, and the test that finds it."""

    file: str
    old: str
    new: str
    found_by: str
    answers: Mapping[str, object]
    on_postgres: bool = False


ASYNCPG = {"driver": "asyncpg"}
PSYCOPG = {"driver": "psycopg"}
POOLED = {"pool": "queuepool"}
NEON = {"database": "neon"}
DATABASE = "app/core/database.py"
POOL = "app/core/pool.py"
DRIVER = "app/core/driver.py"
MUTANTS = {
    "no-commit": Mutant(
        DATABASE,
        "        await session.commit()\n",
        "",
        "test_users.test_create_and_read",
        {},
    ),
    "commit-after-response": Mutant(
        DATABASE,
        'Depends(get_session, scope="function")',
        "Depends(get_session)",
        "test_sessions.test_commit_that_fails_is_not_a_success",
        {},
    ),
    "commit-after-response-on-postgres": Mutant(
        DATABASE,
        'Depends(get_session, scope="function")',
        "Depends(get_session)",
        "test_sessions.test_commit_that_fails_is_not_a_success",
        {},
        on_postgres=True,
    ),
    "expires-on-commit": Mutant(
        DATABASE,
        "async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)",
        "async_sessionmaker(engine, class_=AsyncSession)",
        "test_sessions.",
        {},
    ),
    "statement-cache": Mutant(
        DATABASE,
        '        "statement_cache_size": 0,\n',
        "",
        "test_database.test_statements_are_not_cached",
        NEON | ASYNCPG,
    ),
    "prepared-statement-cache": Mutant(
        DATABASE,
        '        "prepared_statement_cache_size": 0,\n',
        "",
        "test_database.test_statements_are_not_cached",
        {"database": "pgbouncer"} | ASYNCPG,
    ),
    "prepared-statements": Mutant(
        DATABASE,
        '        "prepare_threshold": None,\n',
        "",
        "test_database.test_statements_are_not_cached",
        NEON | PSYCOPG,
    ),
    "stale-connections": Mutant(
        DATABASE,
        "check_before_use(engine)\n",
        "",
        "test_pool.test_app_checks_its_connections",
        POOLED,
    ),
    "pool-of-sqlalchemy": Mutant(
        DATABASE,
        "    poolclass=SteadyQueuePool,\n",
        "",
        "test_database.test_pool",
        POOLED,
    ),
    "overflow-closed-at-once": Mutant(
        POOL,
        "            self.spare.append((monotonic(), record))\n",
        "            super()._do_return_conn(record)\n",
        "test_pool.test_busy_pool_keeps_its_connections",
        POOLED,
    ),
    "overflow-kept-for-ever": Mutant(
        POOL,
        "        self._close_longest_idle()\n",
        "",
        "test_pool.test_pool_shrinks_to_its_size",
        POOLED,
    ),
    "overflow-left-open": Mutant(
        POOL,
        "            entry.close()\n",
        "",
        "test_pool.test_disposed_pool_is_empty",
        POOLED,
    ),
    "reads-that-do-not-queue": Mutant(
        DATABASE,
        "admission.place(), read_session()",
        "read_session()",
        "test_pool.test_requests_wait_for_a_place[GET]",
        POOLED,
    ),
    "writes-that-do-not-queue": Mutant(
        DATABASE,
        "admission.place(), async_session()",
        "async_session()",
        "test_pool.test_requests_wait_for_a_place[POST]",
        POOLED,
    ),
    "reads-that-write": Mutant(
        DATABASE,
        ", autoflush=False",
        "",
        "test_sessions.test_read_session_writes_nothing",
        {},
    ),
    "reads-in-transactions": Mutant(
        DATABASE,
        '.execution_options(isolation_level="AUTOCOMMIT")',
        "",
        "test_sessions.test_reads_work_without_a_transaction",
        {},
        on_postgres=True,
    ),
    "pool-size": Mutant(
        DATABASE,
        "pool_size=settings.db_pool_size",
        "pool_size=20",
        "test_database.test_pool",
        POOLED,
    ),
    "recycled-after-the-suspend": Mutant(
        "app/core/config.py",
        "db_pool_recycle: WholeSeconds = 280",
        "db_pool_recycle: WholeSeconds = 1800",
        "test_database.test_pool",
        NEON | POOLED,
    ),
    "pool-instead-of-none": Mutant(
        DATABASE,
        "    poolclass=NullPool,\n",
        "",
        "test_database.test_pool",
        {"pool": "nullpool"},
    ),
    "echo": Mutant(
        DATABASE,
        "echo=settings.debug",
        "echo=True",
        "test_database.test_statements_are_not_logged",
        {},
    ),
    "no-command-timeout": Mutant(
        DATABASE,
        '        "command_timeout": settings.db_command_timeout,\n',
        "",
        "test_database.test_time_limits",
        ASYNCPG,
    ),
    "pooled-url-for-migrations": Mutant(
        "app/core/neon.py",
        "    if is_pooled(url):",
        "    if not url:",
        "test_config.test_wrong_setting_stops_the_service",
        NEON,
    ),
    "password-in-message": Mutant(
        "app/core/environment.py",
        'return f"{variable} {reason}"',
        "return f\"{variable} {reason} {details['input']}\"",
        "test_config.test_wrong_setting_stops_the_service",
        {},
    ),
    "asyncpg-without-channel-binding": Mutant(
        DRIVER,
        ' or parameters.get("channel_binding") == "require"',
        "",
        "test_database_url.test_verified_certificate",
        ASYNCPG,
    ),
    "asyncpg-any-host": Mutant(
        DRIVER,
        'context.check_hostname = mode == "verify-full"',
        "context.check_hostname = False",
        "test_database_url.test_verified_certificate",
        ASYNCPG,
    ),
    "psycopg-without-channel-binding": Mutant(
        DRIVER,
        "        **parameters,\n",
        '        **{k: v for k, v in parameters.items() if k != "channel_binding"},\n',
        "test_database_url.test_parameters_are_passed_on_as_given",
        PSYCOPG,
    ),
    "psycopg-system-unverified": Mutant(
        DRIVER,
        '{"sslmode": "verify-full", "sslrootcert": public_ca_file()}',
        '{"sslrootcert": public_ca_file()}',
        "test_database_url.",
        PSYCOPG,
    ),
    "slow-health": Mutant(
        "app/routers/health.py",
        "TIME_LIMIT_SECONDS = 1",
        "TIME_LIMIT_SECONDS = 3",
        "test_health.test_database_is_silent",
        {},
    ),
    "healthy-without-database": Mutant(
        "app/routers/health.py",
        "        status.HTTP_503_SERVICE_UNAVAILABLE,\n",
        "        status.HTTP_200_OK,\n",
        "test_health.test_database_refuses",
        {},
    ),
    "case-in-model": Mutant(
        "app/models.py",
        "func.lower(User.email)",
        "User.email",
        "test_users.test_email_is_unique_whatever_its_case",
        {},
    ),
    "case-in-migration": Mutant(
        "alembic/versions/0001_create_users.py",
        'sa.literal_column("lower(email)")',
        '"email"',
        "test_users.test_email_is_unique_whatever_its_case",
        {},
        on_postgres=True,
    ),
    "drift": Mutant(
        "app/models.py",
        "name: str = Field(max_length=100)",
        "name: str = Field(max_length=99)",
        "test_migrations.test_down_and_up_again_without_drift",
        {},
        on_postgres=True,
    ),
    "no-downgrade": Mutant(
        "alembic/versions/0001_create_users.py",
        '    op.drop_table("users")\n',
        "",
        "test_migrations.test_down_and_up_again_without_drift",
        {},
        on_postgres=True,
    ),
    "unordered": Mutant(
        "app/routers/users.py",
        ".order_by(col(User.id))",
        "",
        "test_users.test_list_is_ordered_and_paged",
        {},
        on_postgres=True,
    ),
    "read-only-is-500": Mutant(
        "app/errors.py",
        '    "25006": "read only SQL transaction",\n',
        "",
        "test_sessions.test_server_error",
        {},
    ),
    "unavailable-is-500": Mutant(
        "app/errors.py",
        "    if is_unavailable(error):",
        "    if not error:",
        "test_sessions.test_unreachable_database",
        {},
    ),
}
