"""What is expected of each database, written down apart from the template's own table."""

from collections.abc import Mapping
from dataclasses import dataclass, field

PASSWORD = "Zq7-hidden-Kx9"  # noqa: S105 (of servers that are not there)

SUPABASE = "aws-0-eu-central-1.pooler.supabase.com"


@dataclass(frozen=True)
class Expected:
    """What follows from the answer, and URLs as its users have them.

    Nobody answers at the URLs.
    """

    facts: Mapping[str, object]  # Of cookiecutter.json.
    requests: str
    migrations: str
    limit: str  # A text of the manifests' test, or of pgbouncer.ini.
    connections: str  # What the manifests' test adds up and holds against the limit.
    refused: str | None = None  # What migrations say of the requests' URL.
    # What only the host itself says, and where that is documented.
    quoted: Mapping[str, str] = field(default_factory=dict)


def url(host: str, *, user: str = "app", database: str = "app") -> str:
    """Return a URL with the password."""
    return f"postgresql://{user}:{PASSWORD}@{host}/{database}"


ON_DATABASE = {
    "postgres": Expected(
        facts={
            "pool": "queuepool",
            "pooler": False,
            "sleeps": False,
            "recycle": 1800,
            "replicas": 6,
            "services": ["db"],
        },
        requests=url("db.example.com:5432"),
        migrations=url("db.example.com:5432"),
        limit="MAX_CONNECTIONS = 100",
        connections="(6 replicas + 1 surge + 1 stopping) x (10 pool + 1 readiness)"
        " + 2 migration + 3 reserved = 93 connections",
    ),
    "neon": Expected(
        facts={
            "pool": "nullpool",
            "pooler": True,
            "sleeps": True,
            "recycle": 280,
            "replicas": 10,
            "services": [],
        },
        requests=url("ep-a-1-pooler.eu-central-1.aws.neon.tech"),
        migrations=url("ep-a-1.eu-central-1.aws.neon.tech"),
        limit="MOST_CLIENTS = 10000",
        connections="(10 replicas + 1 surge + 1 stopping) x (10 pool + 1 readiness)"
        " = 132 clients",
        refused="DATABASE_URL_DIRECT names Neon's pooled endpoint",
    ),
    "supabase": Expected(
        facts={
            "pool": "nullpool",
            "pooler": True,
            "sleeps": False,
            "recycle": 1800,
            "replicas": 10,
            "services": [],
        },
        requests=url(f"{SUPABASE}:6543", user="postgres.abcd", database="postgres"),
        migrations=url(f"{SUPABASE}:5432", user="postgres.abcd", database="postgres"),
        limit="MOST_CLIENTS = 200",
        connections="(10 replicas + 1 surge + 1 stopping) x (10 pool + 1 readiness)"
        " = 132 clients",
        refused="names Supabase's transaction pooler",
        quoted={
            "Max client connections reached": "https://supabase.com/docs/guides/database/connecting-to-postgres/pooling-and-limits",
            "MaxClientsInSessionMode": "https://github.com/supabase/supavisor/blob/main/lib/supavisor/client_handler.ex",
            "Tenant or user not found": "https://github.com/supabase/supavisor/blob/main/lib/supavisor/client_handler.ex",
            "Network is unreachable": "https://supabase.com/docs/guides/platform/ipv4-address",
        },
    ),
    "pgbouncer": Expected(
        facts={
            "pool": "nullpool",
            "pooler": True,
            "sleeps": False,
            "recycle": 1800,
            "replicas": 10,
            "services": ["pgbouncer", "db"],
        },
        requests=url("db.example.com:6432"),
        migrations=url("db.example.com:5432"),
        limit="max_client_conn = 1000",
        connections="(10 replicas + 1 surge + 1 stopping) x (10 pool + 1 readiness)"
        " = 132 clients",
    ),
}
