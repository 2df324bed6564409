"""Run a program in many environments: `python -m ends '[ENVIRONMENT, ...]' PROGRAM`.

It runs in a service's folder, in the service's virtual environment, and writes a JSON
list of exit codes and outputs. What the service asks for is imported once: each run is a
fork, which starts the program as `python -m PROGRAM` does. An alarm ends one that goes on.
"""

import gc
import json
import os
import runpy
import signal
import sys
import tempfile
from contextlib import suppress
from importlib import import_module

PACKAGES = (
    "alembic.config",
    "alembic_postgresql_enum",
    "fastapi",
    "pydantic_settings",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.ext.asyncio",
    "sqlmodel",
    "uvicorn.main",
    # A service has one of them.
    "asyncpg",
    "psycopg",
)
END_SECONDS = 60


def become(program: list[str], environment: dict[str, str], output: int) -> None:
    """Be that program, in that environment, from here to the process's end."""
    signal.alarm(END_SECONDS)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    os.environ |= environment
    sys.argv = program
    runpy.run_module(program[0], run_name="__main__", alter_sys=True)


def main() -> None:
    """Import the packages, then let each run end before the next begins."""
    environments, program = json.loads(sys.argv[1]), sys.argv[2:]
    for package in PACKAGES:
        with suppress(ImportError):
            import_module(package)
    gc.freeze()
    ends = []
    for environment in environments:
        with tempfile.TemporaryFile() as output:
            child = os.fork()
            if not child:
                become(program, environment, output.fileno())
                return
            _, status = os.waitpid(child, 0)
            output.seek(0)
            ends.append((os.waitstatus_to_exitcode(status), output.read().decode()))
    json.dump(ends, sys.stdout)


if __name__ == "__main__":
    main()
