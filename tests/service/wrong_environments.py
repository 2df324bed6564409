"""Environments that a rendered service must refuse, and what it must say."""

from collections.abc import Iterator
from dataclasses import dataclass

from lab.databases import ON_DATABASE, PASSWORD
from lab.variants import FACTS

DIRECT = "DATABASE_URL_DIRECT"

# What stands for a right URL, followed by what the message must say.
WRONG_URLS = {
    "empty": ("", "is not set. Set it to"),
    "blank": ("  ", "cannot be read as a URL. Write postgresql://"),
    "mysql": ("mysql://app:PASSWORD@db/app", "use postgresql://"),
    "sqlite": ("sqlite:///PASSWORD", "use postgresql://"),
    "mongodb": ("mongodb+srv://app:PASSWORD@db/app", "use postgresql://"),
    "another driver": ("postgresql+psycopg2://app:PASSWORD@db/a", "use postgresql://"),
    "unknown parameter": ("URL?sslmod=require", "remove it, or correct it to sslmode"),
    "cut by an ampersand": ("URL?sslpassword=x&PASSWORD", "has an empty parameter"),
    "parameter twice": ("URL?sslmode=require&sslmode=disable", "keep one"),
    "words": ("password is PASSWORD", "cannot be read as a URL. Write postgresql://"),
    "no scheme": ("app:PASSWORD@db/app", "cannot be read as a URL. Write postgresql:"),
    "quoted": ("'URL'", "cannot be read as a URL. Write postgresql://"),
    "port of letters": ("postgresql://app:PASSWORD@db:port/app", "correct it"),
    "port beyond range": ("postgresql://app:PASSWORD@db:99999/app", "correct it"),
    "at sign in password": ("postgresql://app:a@PASSWORD@db/app", "(@ as %40, / as"),
    "sslmode": ("URL?sslmode=on", "unknown sslmode: use one of disable, allow"),
    "channel_binding": ("URL?channel_binding=yes", "channel_binding: use one of"),
    "channel_binding without TLS": (
        "URL?sslmode=disable&channel_binding=require",
        "use sslmode=require",
    ),
    "connect_timeout of letters": ("URL?connect_timeout=soon", "above 0: correct it"),
    "connect_timeout zero": ("URL?connect_timeout=0", "above 0: correct it"),
    "no certificate file": (
        "URL?sslmode=verify-full&sslrootcert=/nowhere/ca.pem",
        "give the paths of PEM files",
    ),
    "no certificates in the file": (
        "URL?sslmode=verify-full&sslrootcert=/etc/passwd",
        "give the paths of PEM files",
    ),
    "folder of certificates": (
        "URL?sslmode=require&sslrootcert=/tmp",
        "give the paths of PEM files",
    ),
}
# One of each kind: for a second variable, which the same code reads.
FEW_CASES = ("mysql", "unknown parameter", "sslmode", "no certificate file")
WRONG_NUMBERS = {
    "DB_CONNECT_TIMEOUT": ("soon", "should be a valid integer"),
    "DB_COMMAND_TIMEOUT": ("soon", "should be a valid number"),
    "DB_MAX_CONNECTIONS": ("0", "should be greater than 0"),
    "DB_POOL_SIZE": ("many", "should be a valid integer"),
    "DB_MAX_OVERFLOW": ("-1", "should be greater than or equal to 0"),
    "DB_POOL_TIMEOUT": ("0", "should be greater than 0"),
    "DB_HOLD_WARNING": ("-1", "should be greater than 0"),
    "DB_POOL_RECYCLE": ("1.5", "should be a valid integer"),
    "DEBUG": ("perhaps", "should be a valid boolean"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("collector:4318", "scheme should be 'http' or"),
    "LOG_LEVEL": ("loud", "should be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or"),
    "LOG_FORMAT": ("xml", "should be 'plain' or 'json'"),
}
# Numbers of which no limit can be made.
NO_LIMITS = {"infinite": "inf", "no number": "nan", "of 30 digits": "9" * 30}
POOL_SETTINGS = (
    "DB_POOL_SIZE",
    "DB_MAX_OVERFLOW",
    "DB_POOL_RECYCLE",
)


@dataclass(frozen=True)
class WrongEnvironment:
    """Variables, and for each wrong one a part of the line about it."""

    name: str
    variables: dict[str, str]
    lines: dict[str, str]

    def faults(self, code: int, output: str) -> list[str]:
        """Say what is wrong with the end of a process that had these variables."""
        found = []
        if code != 1:
            found.append(f"the exit code is {code}, not 1")
        if PASSWORD in output:
            found.append("the password is shown")
        lines = output.splitlines()
        if len(lines) != len(self.lines):
            found.append(f"{len(lines)} lines, not {len(self.lines)}")
        for variable, text in self.lines.items():
            about = [
                line
                for line in lines
                if line.startswith((variable + " ", variable + ":"))
            ]
            if len(about) != 1 or text not in about[0]:
                found.append(f"no one line about {variable} says {text!r}")
        return [f"{self.name}: {fault}\n{output}" for fault in found]


def wrong_environments(
    database: str, pool: str, program: str
) -> Iterator[WrongEnvironment]:
    """Return the environments that `program` (uvicorn or alembic) must refuse."""
    right = right_variables(database, program)
    [required] = right
    numbers = {
        name: wrong
        for name, wrong in WRONG_NUMBERS.items()
        if is_read(name, pool, program)
    }
    yield WrongEnvironment(
        "missing",
        {name: value for name, value in right.items() if name != required},
        {required: "is not set. Set it to"},
    )
    for variable in right:
        for name, (text, message) in WRONG_URLS.items():
            if variable != required and name not in FEW_CASES:
                continue
            url = text.replace("URL", right[variable]).replace("PASSWORD", PASSWORD)
            yield WrongEnvironment(
                f"{variable} {name}", right | {variable: url}, {variable: message}
            )
    expected = ON_DATABASE[database]
    if expected.refused and program == "alembic":
        for variable in (DIRECT, "DATABASE_URL_UNPOOLED"):
            yield WrongEnvironment(
                f"pooled {variable}",
                {variable: expected.requests + "?sslmode=require"},
                {DIRECT: expected.refused},
            )
    for name, (value, message) in numbers.items():
        yield WrongEnvironment(name, right | {name: value}, {name: message})
    for name, value in NO_LIMITS.items():
        setting = "DB_COMMAND_TIMEOUT" if program == "uvicorn" else "DB_CONNECT_TIMEOUT"
        yield WrongEnvironment(
            f"{setting} {name}", right | {setting: value}, {setting: "should be "}
        )
    yield WrongEnvironment(
        "everything",
        dict.fromkeys(right, f"mysql://app:{PASSWORD}@db/app")
        | {n: v for n, (v, _) in numbers.items()},
        dict.fromkeys(right, "use postgresql://")
        | {name: message for name, (_, message) in numbers.items()},
    )


def right_variables(database: str, program: str) -> dict[str, str]:
    """Return the URL that `program` reads, and a right one."""
    expected = ON_DATABASE[database]
    if program == "alembic" and FACTS[database]["pooler"]:
        return {DIRECT: expected.migrations}
    return {"DATABASE_URL": expected.requests}


def is_read(setting: str, pool: str, program: str) -> bool:
    """Tell whether `program` of a variant with `pool` reads a setting."""
    if program == "alembic":
        return setting in {"DB_CONNECT_TIMEOUT", "LOG_LEVEL", "LOG_FORMAT"}
    if setting == "DB_MAX_CONNECTIONS":
        return pool == "nullpool"
    return pool == "queuepool" or setting not in POOL_SETTINGS
