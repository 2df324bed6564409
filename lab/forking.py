"""Start programs as forks of this Python, which has imported the packages of a service.

It runs in a service's virtual environment, for lab/forks.py, with the number of a socket.
Each message there brings three files: a channel that the request comes by, and where the
program writes to. The program's number goes back, then its exit code.
"""

import gc
import json
import os
import runpy
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module

PACKAGES = (
    "alembic.config",
    "alembic_postgresql_enum",
    "fastapi",
    "pydantic_settings",
    "pytest",
    "pythonjsonlogger.json",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.ext.asyncio",
    "sqlmodel",
    "uvicorn.main",
    # A service has one of them.
    "asyncpg",
    "psycopg",
)


def main() -> None:
    """Fork for each message, until nobody can send one."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    for package in PACKAGES:
        with suppress(ImportError):
            import_module(package)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while files := socket.recv_fds(requests, 1, 3)[1]:
        if not os.fork():
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            attend(*files)
            return
        for file in files:
            os.close(file)


def attend(channel: int, output: int, errors: int) -> None:
    """Start the program, and tell its end; returns in the program, when it has ended."""
    with socket.socket(fileno=channel) as caller:
        request = json.loads(caller.makefile().readline())
        program = os.fork()
        if program:
            os.close(output)
            os.close(errors)
            with suppress(OSError):  # The caller may be gone.
                caller.sendall(b"%d\n" % program)
                _, status = os.waitpid(program, 0)
                caller.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
            os._exit(0)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(errors, sys.stderr.fileno())
    os.close(output)
    os.close(errors)
    become(**request)


def become(command: list[str], folder: str, environment: dict[str, str]) -> None:
    """Be `python -m COMMAND` in that folder and environment, to its end."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [folder, *filter(None, paths)]
    sys.argv = command
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
