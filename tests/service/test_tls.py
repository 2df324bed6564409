"""TLS as servers demand it: a client's certificate, and no question before TLS.

Both drivers, on the service with a direct connection. The servers here have no TLS of
their own, so that a front stands before one.
"""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from lab.fronts import tls_front
from lab.projects import Bakery
from lab.servers import Server
from lab.variants import CHOICES, VARIANTS
from tests.service.probing import Environments, Report, probe

pytestmark = [
    pytest.mark.everything,
    pytest.mark.parametrize("driver", CHOICES["driver"]),
]
Identify = Callable[..., list[object]]


@pytest.fixture
def authority() -> trustme.CA:
    """Return an authority that nobody else knows."""
    return trustme.CA()


@pytest.fixture
def context(authority: trustme.CA) -> ssl.SSLContext:
    """Return the settings of a server that takes clients of the authority alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.set_alpn_protocols(["postgresql"])
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    """Return the paths of the authority's certificate, and of a client's."""
    paths = {name: tmp_path / name for name in ("sslrootcert", "sslcert", "sslkey")}
    client = authority.issue_cert("client.example.com")
    authority.cert_pem.write_to_path(paths["sslrootcert"])
    client.cert_chain_pems[0].write_to_path(paths["sslcert"])
    client.private_key_pem.write_to_path(paths["sslkey"])
    paths["sslkey"].chmod(0o600)
    return {name: str(path) for name, path in paths.items()}


@pytest.fixture
def identify(
    environments: Environments, bake: Bakery, postgres: Server, driver: str
) -> Identify:
    """Connect by way of a port with these parameters; return whom the server sees."""

    def run(port: int, parameters: dict[str, str], **variables: str) -> list[object]:
        server = urlsplit(postgres.url)
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        login = server.netloc.rpartition("@")[0]
        url = f"postgresql://{login}@localhost:{port}{server.path}?{query}"
        variant = next(variant for variant in VARIANTS if variant.driver == driver)
        settings = {"DATABASE_URL": url, "PROBE_CONNECT": "1", **variables}
        report: Report = probe(environments(driver), bake(variant), [settings])[0]
        identity: list[object] = report["identity"]
        return identity

    return run


@pytest.fixture
def port(postgres: Server, context: ssl.SSLContext) -> Iterator[int]:
    """Run a server that asks for TLS, as PostgreSQL does by default."""
    server = urlsplit(postgres.url)
    with tls_front(server.hostname or "", server.port or 5432, context) as front:
        yield front.port


@pytest.mark.parametrize("mode", ["require", "verify-full"])
def test_client_certificate(
    identify: Identify, port: int, files: dict[str, str], mode: str
) -> None:
    assert len(identify(port, {"sslmode": mode, **files})) == 5


def test_certificates_from_the_environment(
    identify: Identify, port: int, files: dict[str, str]
) -> None:
    variables = {f"PG{name.upper()}": path for name, path in files.items()}
    assert len(identify(port, {}, PGSSLMODE="verify-full", **variables)) == 5
    assert len(identify(port, {"sslmode": "verify-full"}, **variables)) == 5


def test_certificate_of_a_machines_authority(
    identify: Identify, port: int, files: dict[str, str]
) -> None:
    """Where the URL names no authority, the client's certificate is shown too."""
    parameters = {name: files[name] for name in ("sslcert", "sslkey")}
    trusted = {"SSL_CERT_FILE": files["sslrootcert"]}
    found = identify(port, {"sslmode": "verify-full", **parameters}, **trusted)
    assert len(found) == 5


def test_no_client_certificate(
    identify: Identify, port: int, files: dict[str, str]
) -> None:
    parameters = {"sslmode": "verify-full", "sslrootcert": files["sslrootcert"]}
    assert len(identify(port, parameters)) == len(["error", "message"])


def test_direct_tls(
    identify: Identify, postgres: Server, context: ssl.SSLContext, files: dict[str, str]
) -> None:
    server = urlsplit(postgres.url)
    address = (server.hostname or "", server.port or 5432)
    parameters = {"sslmode": "verify-full", **files}
    with tls_front(*address, context, direct=True) as front:
        asked = identify(front.port, parameters)
        direct = identify(front.port, {**parameters, "sslnegotiation": "direct"})
    assert len(asked) == len(["error", "message"])
    assert len(direct) == 5
