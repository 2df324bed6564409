"""URLs as the users of each database have them. Nobody answers there."""

from dataclasses import dataclass

PASSWORD = "Zq7-hidden-Kx9"  # noqa: S105 (of servers that are not there)

SUPABASE = "aws-0-eu-central-1.pooler.supabase.com"


@dataclass(frozen=True)
class Addresses:
    """Where requests go and where migrations go, and what migrations must refuse."""

    requests: str
    migrations: str
    refused: str | None = None  # A part of the message about the requests' URL.


def url(host: str, *, user: str = "app", database: str = "app") -> str:
    """Return a URL with the password."""
    return f"postgresql://{user}:{PASSWORD}@{host}/{database}"


ADDRESSES = {
    "postgres": Addresses(url("db.example.com:5432"), url("db.example.com:5432")),
    "pgbouncer": Addresses(url("db.example.com:6432"), url("db.example.com:5432")),
    "supabase": Addresses(
        url(f"{SUPABASE}:6543", user="postgres.abcd", database="postgres"),
        url(f"{SUPABASE}:5432", user="postgres.abcd", database="postgres"),
        "names Supabase's transaction pooler (port 6543)",
    ),
    "neon": Addresses(
        url("ep-a-1-pooler.eu-central-1.aws.neon.tech"),
        url("ep-a-1.eu-central-1.aws.neon.tech"),
        "names Neon's pooled endpoint (-pooler)",
    ),
}
