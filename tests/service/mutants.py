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
SUPABASE = {"database": "supabase"}
DATABASE = "app/core/database.py"
SESSION = "app/core/session.py"
DEPENDENCIES = "app/dependencies.py"
QUEUE = "app/core/fair_queue.py"
HOLDERS = "app/core/holders.py"
ERRORS = "app/errors.py"
POOL = "app/core/pool.py"
DRIVER = "app/core/driver.py"
MUTANTS = {
    "no-commit": Mutant(
        DEPENDENCIES,
        '    yield session\n    await session.commit()\n    session.info["writes"]',
        '    yield session\n    session.info["writes"]',
        "test_users.test_create_and_read",
        {},
    ),
    "failed-commit-unheard": Mutant(
        DEPENDENCIES,
        '    await session.commit()\n    session.info["writes"] = False\n',
        "    try:\n        await session.commit()\n    except Exception:\n        pass\n",
        "test_sessions.test_commit_that_fails_is_not_a_success",
        {},
    ),
    "failed-commit-unheard-on-postgres": Mutant(
        DEPENDENCIES,
        '    await session.commit()\n    session.info["writes"] = False\n',
        "    try:\n        await session.commit()\n    except Exception:\n        pass\n",
        "test_sessions.test_commit_that_fails_is_not_a_success",
        {},
        on_postgres=True,
    ),
    "expires-on-commit": Mutant(
        SESSION,
        '    "expire_on_commit": False,\n',
        "",
        "test_sessions.test_scope_commits_and_objects_stay_readable",
        {},
    ),
    "statement-cache": Mutant(
        DRIVER,
        '        "statement_cache_size": 0,\n',
        "",
        "test_driver.test_statements_are_not_cached",
        NEON | ASYNCPG,
    ),
    "prepared-statement-cache": Mutant(
        DRIVER,
        '        "prepared_statement_cache_size": 0,\n',
        "",
        "test_driver.test_statements_are_not_cached",
        {"database": "pgbouncer"} | ASYNCPG,
    ),
    "prepared-statements": Mutant(
        DRIVER,
        '        "prepare_threshold": None,\n',
        "",
        "test_driver.test_statements_are_not_cached",
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
        "    poolclass=FairQueuePool,\n",
        "",
        "test_database.test_pool",
        POOLED,
    ),
    "overflow-closed-at-once": Mutant(
        POOL,
        " and monotonic() - since >= KEEP_OVERFLOW",
        " and since",
        "test_pool.test_busy_pool_keeps_its_connections",
        POOLED,
    ),
    "overflow-kept-for-ever": Mutant(
        POOL,
        "                longest_idle.invalidate()\n",
        "                self.idle.append((since, longest_idle))\n",
        "test_pool.test_pool_shrinks_to_its_size",
        POOLED,
    ),
    "disposed-but-open": Mutant(
        POOL,
        "            self.idle.popleft()[1].invalidate()\n",
        "            self.idle.popleft()\n",
        "test_pool.test_disposed_pool_is_empty",
        POOLED,
    ),
    "unfair-queue": Mutant(
        QUEUE,
        "self.waiting.popleft()",
        "self.waiting.pop()",
        "test_fair_queue.test_first_come_first_served",
        {},
    ),
    "place-lost-with-who-waits": Mutant(
        QUEUE,
        "            if turn.done() and not turn.cancelled():\n                self._hand_on()\n",
        "            pass\n",
        "test_fair_queue.test_who_gives_up_loses_no_place",
        {},
    ),
    "details-in-the-log": Mutant(
        ERRORS,
        '        text = text.partition("\\n")[0]\n',
        "        pass\n",
        "test_logs.test_conflict_is_one_line_without_data",
        PSYCOPG,
        on_postgres=True,
    ),
    "any-request-id": Mutant(
        "app/work.py",
        "given if ACCEPTED_ID.fullmatch(given) else",
        "given or",
        "test_logs.test_id_that_might_harm_the_log_is_replaced",
        {},
    ),
    "path-in-the-log": Mutant(
        "app/work.py",
        "route.path if route else '(no route)'",
        "work['path']",
        "test_holders.test_requests_are_named_by_their_routes",
        {},
    ),
    "holder-named-again": Mutant(
        HOLDERS,
        "                holder.is_named = True\n",
        "",
        "test_holders.test_forgotten_connection_is_told_once_to_those_who_come",
        {},
    ),
    "holder-named-in-silence": Mutant(
        HOLDERS,
        "        self.name_slow()\n        del",
        "        del",
        "test_holders.test_slow_holder_is_named_when_it_leaves",
        {},
    ),
    "session-without-an-end": Mutant(
        SESSION,
        '    "close_resets_only": False,\n',
        "",
        "test_sessions.test_session_ends_with_its_scope",
        {},
    ),
    "two-sessions": Mutant(
        DEPENDENCIES,
        '    session.info["writes"] = True\n    yield session\n',
        '    session.info["writes"] = True\n    yield async_session()\n',
        "test_sessions.test_dependencies_share_a_session",
        {},
    ),
    "connection-of-another-loop": Mutant(
        "app/core/checks.py",
        "            entry.dbapi_connection = None\n            raise DisconnectionError\n",
        "            pass\n",
        "test_pool.test_connection_of_an_ended_loop_is_replaced",
        POOLED,
        on_postgres=True,
    ),
    "reads-that-write": Mutant(
        SESSION,
        'info={"writes": False}',
        'info={"writes": True}',
        "test_sessions.test_session_that_only_reads_refuses_changes",
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
        "    poolclass=FairNullPool,\n"
        "    max_connections=settings.db_max_connections,\n",
        "",
        "test_database.test_pool",
        {"pool": "nullpool"},
    ),
    "echo": Mutant(
        DATABASE,
        '"INFO" if settings.debug else "WARNING"',
        '"INFO"',
        "test_database.test_statements_are_not_logged",
        {},
    ),
    "no-command-timeout": Mutant(
        DATABASE,
        "            command_timeout=settings.db_command_timeout,\n",
        "",
        "test_driver.test_time_limits",
        ASYNCPG,
    ),
    "pooled-url-for-migrations": Mutant(
        "app/core/endpoint.py",
        "    if is_pooled(url):",
        "    if not url:",
        "test_endpoint.test_migrations_refuse_the_pooled_endpoint",
        NEON,
    ),
    "transaction-pooler-for-migrations": Mutant(
        "app/core/endpoint.py",
        "    if url.url.port == TRANSACTION_PORT:",
        "    if not url:",
        "test_endpoint.test_migrations_refuse_the_transaction_pooler",
        SUPABASE,
    ),
    "user-without-project": Mutant(
        "app/core/endpoint.py",
        '"." not in',
        '"." in',
        "test_endpoint.test_user_names_the_project",
        SUPABASE,
    ),
    "failed-transaction-committed": Mutant(
        "app/core/checks.py",
        '    event.listen(engine.sync_engine, "commit", refuse_failed_transaction)\n',
        "",
        "test_sessions.test_caught_error_is_not_committed",
        {},
        on_postgres=True,
    ),
    "savepoint-forgets-nothing": Mutant(
        "app/core/checks.py",
        '    event.listen(engine.sync_engine, "rollback_savepoint", forget_failure)\n',
        "",
        "test_sessions.test_error_caught_around_a_savepoint",
        {},
        on_postgres=True,
    ),
    "lost-connection-is-500": Mutant(
        ERRORS,
        "    if lost or isinstance(",
        "    if isinstance(",
        "test_sessions.test_connection_that_is_not_to_be_had",
        {},
    ),
    "file-is-not-read": Mutant(
        "app/core/environment.py",
        '_FILE")',
        '_PATH")',
        "test_config.test_setting_from_a_file",
        {},
    ),
    "password-in-message": Mutant(
        "app/core/environment.py",
        'return f"{name.upper()} {reason}".lstrip()',
        "return f\"{name.upper()} {reason} {details['input']}\"",
        "test_config.test_wrong_setting_stops_the_service",
        {},
    ),
    "asyncpg-without-channel-binding": Mutant(
        DRIVER,
        'given.pop("channel_binding", None) == "require"',
        'given.pop("channel_binding", None) == ""',
        "test_driver.test_verified_certificate",
        ASYNCPG,
    ),
    "asyncpg-any-host": Mutant(
        DRIVER,
        'context.check_hostname = parameters["sslmode"] == "verify-full"',
        "context.check_hostname = False",
        "test_driver.test_verified_certificate",
        ASYNCPG,
    ),
    "psycopg-without-channel-binding": Mutant(
        DRIVER,
        "        **parameters,\n",
        '        **{k: v for k, v in parameters.items() if k != "channel_binding"},\n',
        "test_driver.test_parameters_are_passed_on",
        PSYCOPG,
    ),
    "psycopg-system-unverified": Mutant(
        DRIVER,
        '{"sslmode": "verify-full", "sslrootcert": public_ca_file()}',
        '{"sslrootcert": public_ca_file()}',
        "test_driver.test_system_authorities_verify_the_host",
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
        "app/models/user.py",
        "func.lower(User.email)",
        "User.email",
        "test_users.test_email_is_unique_whatever_its_case",
        {},
    ),
    "case-in-migration": Mutant(
        "alembic/versions/0001_create_teams_and_users.py",
        'sa.literal_column("lower(email)")',
        '"email"',
        "test_users.test_email_is_unique_whatever_its_case",
        {},
        on_postgres=True,
    ),
    "drift": Mutant(
        "app/models/user.py",
        "name: str = Field(max_length=100)",
        "name: str = Field(max_length=99)",
        "test_migrations.test_down_and_up_again_without_drift",
        {},
        on_postgres=True,
    ),
    "no-downgrade": Mutant(
        "alembic/versions/0001_create_teams_and_users.py",
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
    "stale-lock": Mutant(
        "app/routers/users.py",
        ".execution_options(populate_existing=True)",
        "",
        "test_users.test_locked_user_is_read_anew",
        {},
    ),
    "read-only-is-500": Mutant(
        ERRORS,
        '    "25006": "read only SQL transaction",\n',
        "",
        "test_sessions.test_server_error",
        {},
    ),
    "unavailable-is-500": Mutant(
        ERRORS,
        '    "08": "connection exception",\n',
        "",
        "test_sessions.test_unreachable_database",
        {},
    ),
    "mistake-is-a-conflict": Mutant(
        ERRORS,
        '    "23503": ',
        '    "23502": "x",\n    "23503": ',
        "test_sessions.test_server_error",
        {},
    ),
}
