"""Check what a service answers against its own OpenAPI document, with schemathesis."""

import http.client
import io
import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import schemathesis
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHUNK = 65536
REQUEST_SECONDS = 30
SERVER_ERRORS = 500
CHECKS = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]


@dataclass(frozen=True)
class Fuzzing:
    """What one run of schemathesis did, and what it found."""

    cases: int
    operations: int
    failures: list[str]


def fuzz(url: str, folder: Path, *, examples: int, seed: int = 1) -> Fuzzing:
    """Let schemathesis send valid and invalid data to the service at `url`.

    Every check runs but one: no 5xx, statuses, content types, headers and bodies as
    documented, invalid data refused, valid data taken. `examples` bounds the cases of an
    operation. The one: Starlette's Allow names the methods of one route of a path.
    """
    report = folder / "schemathesis.json"
    completed = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
            *("--seed", str(seed), "--max-examples", str(examples)),
            *("--checks", "all", "--exclude-checks", "allow_header_conformance"),
            *("--mode", "all", "--continue-on-failure"),
            *("--generation-database", "none", "--no-shrink", "--no-color"),
            *("--report", "json", "--report-json-path", str(report)),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if not report.exists():
        raise RuntimeError(completed.stdout + completed.stderr)
    result = json.loads(report.read_text())
    found = [json.dumps(problem) for problem in result["failures"] + result["errors"]]
    if completed.returncode and not found:
        found = [completed.stdout + completed.stderr]
    return Fuzzing(
        result["test_cases"]["generated"], result["operations"]["tested"], found
    )


class Document:
    """The OpenAPI document of a running service."""

    def __init__(self, url: str) -> None:
        """Read the document of the service at `url`."""
        self.schema = schemathesis.openapi.from_url(f"{url}/openapi.json")

    def methods(self, path: str) -> set[str]:
        """Return the methods that are documented for a path, in capitals."""
        if path not in set(self.schema):
            return set()
        return {method.upper() for method in self.schema[path]}

    def faults(self, path: str, response: httpx2.Response) -> list[str]:
        """Say where an answer departs from what is documented for `path`.

        For a path that is not documented only 404 will do; for a method, 405 with at
        least one that is.
        """
        status = response.status_code
        method = response.request.method
        if status >= SERVER_ERRORS:
            return [f"{status} {response.text}"]
        documented = self.methods(path)
        if not documented:
            return [] if status == httpx2.codes.NOT_FOUND else [f"{status} for no path"]
        if method not in documented:
            allowed = {name.strip() for name in response.headers["Allow"].split(",")}
            refused = status == httpx2.codes.METHOD_NOT_ALLOWED
            right = refused and set() < allowed <= documented
            return [] if right else [f"{status} allows {allowed}, not {documented}"]
        case = self.schema[path][method].Case()
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as group:
            return [failure.title for failure in group.exceptions]
        return []


class Received:
    """Bytes that `http.client` reads as if they came from a socket."""

    def __init__(self, data: bytes) -> None:
        """Wrap what was received."""
        self.data = data

    def makefile(self, *_: object) -> io.BytesIO:
        """Return the bytes as a file."""
        return io.BytesIO(self.data)


def send(
    url: str,
    method: str,
    target: bytes,
    body: bytes | None = None,
    headers: tuple[bytes, ...] = (),
) -> httpx2.Response:
    """Send a request byte for byte; HTTP clients would mend or refuse an odd one."""
    parts = urlsplit(url)
    lines = [
        b"%s %s HTTP/1.1" % (method.encode(), target),
        b"Host: localhost",
        b"Connection: close",
        *headers,
    ]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    request = b"\r\n".join([*lines, b"", body or b""])
    address = (parts.hostname or "", parts.port or 80)
    with socket.create_connection(address, timeout=REQUEST_SECONDS) as connection:
        connection.sendall(request)
        received = b""
        while chunk := connection.recv(CHUNK):
            received += chunk
    answer = http.client.HTTPResponse(Received(received), method=method)  # type: ignore[arg-type]
    answer.begin()
    response = httpx2.Response(
        answer.status,
        headers=answer.getheaders(),
        content=answer.read(),
        request=httpx2.Request(method, url),
    )
    response.elapsed = timedelta()
    return response
