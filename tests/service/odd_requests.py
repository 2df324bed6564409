"""Requests that fuzzers seldom think of, and the statuses that they may have."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

DEPTH = 100_000
MANY_DIGITS = b"9" * 5000
JSON_HEADER = b"Content-Type: application/json"

IDS = {
    "zero": b"0",
    "negative": b"-1",
    "beyond the column": str(2**53).encode(),
    "beyond 64 bits": b"9" * 30,
    "5000 digits": MANY_DIGITS,
    "zeros, then digits": b"0" * 4299 + b"1",
    "float": b"1.5",
    "exponent": b"1e3",
    "hexadecimal": b"0x1",
    "full-width digit": b"%EF%BC%91",
    "Arabic digit": b"%D9%A1",
    "NUL": b"1%00",
    "newline": b"1%0a",
    "space": b"%201",
    "invalid UTF-8": b"%ff",
    "surrogate in UTF-8": b"%ED%A0%80",
    "lone percent": b"%",
    "no hexadecimal after percent": b"%zz",
    "dots": b"%2e%2e",
    "emoji": b"%F0%9F%98%80",
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "list": b"[1]",
    "path parameter": b"1;a=b",
}
QUERIES = {
    "largest key": f"after={2**53 - 1}".encode(),
    "key beyond the column": f"after={2**53}".encode(),
    "key of 5000 digits": b"after=" + MANY_DIGITS,
    "key NaN": b"after=NaN",
    "key empty": b"after=",
    "key negative": b"after=-1",
    "limit zero": b"limit=0",
    "limit too large": b"limit=101",
    "limit twice": b"limit=1&limit=2",
    "limit as list": b"limit[]=1",
    "limit NUL": b"limit=%00",
    "limit invalid UTF-8": b"limit=%ff",
    "limit Infinity": b"limit=Infinity",
    "surrogate as name": b"%ED%A0%80=1",
    "separators": b"&&&&=&",
    "lone percent": b"%",
    "a thousand names": b"a=1&" * 1000,
}
# `@` stands for an email address that nobody has.
BODIES = {
    "lone surrogate": b'{"name": "\\ud800", "email": "@"}',
    "surrogates in the wrong order": b'{"name": "\\udc00\\ud800", "email": "@"}',
    "surrogate in UTF-8": b'{"name": "\xed\xa0\x80", "email": "@"}',
    "surrogate as name": b'{"\\ud800": 1, "name": "a", "email": "@"}',
    "surrogate in email": b'{"name": "a", "email": "\\ud800@"}',
    "NUL in name": b'{"name": "a\\u0000", "email": "@"}',
    "NUL in email": b'{"name": "a", "email": "\\u0000@"}',
    "raw NUL": b'{"name": "a\x00", "email": "@"}',
    "NUL alone": b"\x00",
    "NaN": b'{"name": NaN, "email": "@"}',
    "Infinity": b'{"name": Infinity, "email": -Infinity}',
    "NaN alone": b"NaN",
    "float beyond range": b'{"name": 1e400, "email": "@"}',
    "integer of 5000 digits": b'{"name": ' + MANY_DIGITS + b', "email": "@"}',
    "deep list": b"[" * DEPTH,
    "deep list, closed": b"[" * DEPTH + b"]" * DEPTH,
    "deep object": b'{"name": ' * DEPTH + b"1" + b"}" * DEPTH,
    "900 levels": b'{"name": ' + b"[" * 900 + b"]" * 900 + b', "email": "@"}',
    "invalid UTF-8": b'{"name": "\xff", "email": "@"}',
    "invalid UTF-8 alone": b"\xff",
    "UTF-8 with a mark": b'\xef\xbb\xbf{"name": "a", "email": "@"}',
    "nothing": b"",
    "null": b"null",
    "list": b"[]",
    "object": b"{}",
    "string": b'"x"',
    "number": b"1",
    "name twice": b'{"name": "a", "name": "b", "email": "@"}',
    "name twice, of two types": b'{"name": "a", "name": 1, "email": "@"}',
    "fields that the server fills": b'{"name": "a", "email": "@", "id": 1,'
    b' "created_at": "x", "__class__": {}}',
    "cut off": b'{"name":',
    "two objects": b"{}{}",
    "name null": b'{"name": null, "email": "@"}',
    "both null": b'{"name": null, "email": null}',
    "name a list": b'{"name": ["a"], "email": "@"}',
    "name empty": b'{"name": "", "email": "@"}',
    "name of 3 MB": b'{"name": "%s", "email": "@"}' % (b"x" * 3_000_000),
    "name of 101": b'{"name": "%s", "email": "@"}' % (b"x" * 101),
    "name of 100 emoji": json.dumps(
        {"name": "\U0001f600" * 100, "email": "@"}
    ).encode(),
    "email of 240 emoji": json.dumps(
        {"name": "a", "email": "\U0001f600" * 240 + "@"}
    ).encode(),
    "email with a newline": b'{"name": "a", "email": "@\\n"}',
    "email with a dotted I": '{"name": "a", "email": "İ@"}'.encode(),
    "control characters": b'{"name": "\\u0001\\u007f\\u2028", "email": "@"}',
    "characters that are none": b'{"name": "\\uffff\\ufffe", "email": "@"}',
    "SQL": b'{"name": "\'; DROP TABLE users; --", "email": "@"}',
    "placeholders": b'{"name": "%s %(x)s :x $1 {0}", "email": "@"}',
}
CONTENT_TYPES = {
    "none": None,
    "empty": b"",
    "text": b"text/plain",
    "form": b"application/x-www-form-urlencoded",
    "multipart without boundary": b"multipart/form-data",
    "multipart": b"multipart/form-data; boundary=x",
    "another charset": b"application/json; charset=utf-16",
    "no such charset": b"application/json; charset=nonsense",
    "vendor": b"application/vnd.api+json",
    "capitals": b"APPLICATION/JSON",
    "open quote": b'application/json; boundary="',
    "garbage": b"garbage",
    "semicolon": b";",
    "not ASCII": b"application/json; x=\xff",
}
METHODS = ["HEAD", "PUT", "TRACE", "OPTIONS", "CONNECT"]
PATHS = {
    "/users": b"/users",
    "/users/{user_id}": b"/users/1",
    "/health/db": b"/health/db",
    "/health/live": b"/health/live",
    "/nothing": b"/nothing",
}
USERS = "/users"
USER = "/users/{user_id}"

NOT_TAKEN = {404, 422}
TAKEN = {200, 404}
BODY_REFUSED = {400, 422}


@dataclass(frozen=True)
class OddRequest:
    """A request, the path that it is documented under, and what it may be told."""

    name: str
    path: str
    method: str
    target: bytes
    statuses: frozenset[int]
    body: bytes | None = None
    headers: tuple[bytes, ...] = ()


def odd_requests(user_id: int) -> Iterator[OddRequest]:
    """Return every odd request; those that change a user change `user_id`."""
    for name, number in IDS.items():
        for method in ("GET", "DELETE", "PATCH"):
            # The list is odd enough: what remains a number must be of no user.
            yield OddRequest(
                f"{method} id {name}",
                USER,
                method,
                b"/users/" + number.replace(b"1", b"7000"),
                frozenset(NOT_TAKEN),
                b"{}" if method == "PATCH" else None,
                (JSON_HEADER,),
            )
    for name, query in QUERIES.items():
        target = b"/users?" + query
        yield OddRequest(f"list {name}", USERS, "GET", target, frozenset({200, 422}))
    yield from odd_bodies(user_id)
    for name, kind in CONTENT_TYPES.items():
        yield OddRequest(
            f"content type {name}",
            USERS,
            "POST",
            b"/users",
            frozenset({201, 422}),
            with_email(BODIES["name twice"], f"type{len(name)}{name[0]}@example.com"),
            () if kind is None else (b"Content-Type: " + kind,),
        )
    for path, target in PATHS.items():
        for method in METHODS:
            status = 404 if path == "/nothing" else 405
            yield OddRequest(
                f"{method} {path}", path, method, target, frozenset({status})
            )


def odd_bodies(user_id: int) -> Iterator[OddRequest]:
    """Return every odd body, to create a user and to change one."""
    for number, (name, body) in enumerate(BODIES.items()):
        for path, method, target, success in (
            (USERS, "POST", b"/users", 201),
            (USER, "PATCH", b"/users/%d" % user_id, 200),
        ):
            yield OddRequest(
                f"{method} {name}",
                path,
                method,
                target,
                frozenset({success, *BODY_REFUSED}),
                with_email(body, f"{method.lower()}{number}@example.com"),
                (JSON_HEADER,),
            )


def with_email(body: bytes, email: str) -> bytes:
    """Put an email address where a body has `@`."""
    return body.replace(b"@", email.encode())
