"""Many HTTP clients at once, and a record of what the service acknowledged."""

import asyncio
import ssl
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import httpx2

from lab.servers import Database

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # Made once: it costs much time.
REQUEST_SECONDS = 120  # Far beyond every timeout of a service.
REST_SECONDS = 0.05  # What a client waits after a failure, so as not to spin.

# A trigger refuses rows with this name at COMMIT: see `refuse_at_commit`.
REFUSED = "refused at commit"

# Users with such addresses are the test's own: the clients' record leaves them out.
OTHERS = "@others.example.com"

_loads = count(1)


@dataclass(frozen=True)
class Answer:
    """What became of one request."""

    operation: str
    client: int
    expected: int
    status: int | None
    detail: str
    started: float
    finished: float
    retry_after: str | None

    @property
    def seconds(self) -> float:
        """How long the client waited."""
        return self.finished - self.started

    @property
    def as_expected(self) -> bool:
        """Whether the status is the one of a service without faults."""
        return self.status == self.expected

    @property
    def is_unavailable(self) -> bool:
        """Whether the service said 503, and when to come back."""
        return self.status == httpx2.codes.SERVICE_UNAVAILABLE and bool(
            self.retry_after
        )


@dataclass
class Person:
    """A user that one client tried to write: what the database may hold of it."""

    email: str
    names: set[str]
    ever: set[str]
    id: int | None = None
    acknowledged: bool = False
    may_be_absent: bool = True
    deleted: bool = False


@dataclass
class Record:
    """What many clients did, and what they were told."""

    clients: int
    answers: list[Answer] = field(default_factory=list)
    persons: dict[str, Person] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)

    def statuses(self) -> Counter[str]:
        """Count the answers by operation and status."""
        return Counter(f"{answer.operation} {answer.status}" for answer in self.answers)

    def unexpected(self, since: float = 0) -> list[Answer]:
        """Return the answers to requests after `since` that show any fault."""
        return [
            answer
            for answer in self.answers
            if answer.started >= since and not answer.as_expected
        ]

    def wrong(self) -> list[Answer]:
        """Return the answers that no fault excuses: 503 to come back is excused."""
        return [answer for answer in self.unexpected() if not answer.is_unavailable]

    def slowest(self) -> float:
        """Return how long the slowest answer took."""
        return max((answer.seconds for answer in self.answers), default=0)

    def fewest_since(self, moment: float) -> int:
        """Return how many good answers every client got to requests after `moment`."""
        counts = Counter(
            answer.client
            for answer in self.answers
            if answer.started >= moment and answer.as_expected
        )
        return min(counts[client] for client in range(self.clients))

    def knows(self, email: str, name: str) -> bool:
        """Whether a client has tried to write a user with this address and name."""
        person = self.persons.get(email)
        return person is not None and name in person.ever

    @property
    def acknowledged(self) -> int:
        """How many users the service said that it has stored."""
        return sum(person.acknowledged for person in self.persons.values())

    @property
    def deleted(self) -> int:
        """How many of them the service said that it has deleted."""
        return sum(person.deleted for person in self.persons.values())

    def found(self, database: Database) -> int:
        """Return how many of them the table holds."""
        rows = database.execute("SELECT lower(email) FROM users")
        emails = {email for (email,) in rows}
        persons = [person for person in self.persons.values() if person.acknowledged]
        return sum(person.email.lower() in emails for person in persons)

    def summary(self, database: Database) -> str:
        """Write what the clients did, and what is left of it in the table."""
        return (
            f"{self.clients:3} clients, {len(self.answers):5} requests,"
            f" {len(self.unexpected()):4} refused, {self.acknowledged:4} users"
            f" acknowledged, {self.deleted:3} deleted, {self.found(database):4} found"
        )

    def compare(self, database: Database) -> list[str]:
        """Say where the table contradicts what the clients were told."""
        rows = database.execute("SELECT id, name, email FROM users")
        by_email: dict[str, list[tuple[int, str]]] = {}
        for number, name, email in rows:
            by_email.setdefault(email.lower(), []).append((number, name))
        found: list[str] = []
        for person in self.persons.values():
            stored = by_email.pop(person.email.lower(), [])
            found += contradictions(person, stored)
        found += [f"nobody wrote {email}" for email in by_email if OTHERS not in email]
        ids = Counter(p.id for p in self.persons.values() if p.acknowledged)
        found += [
            f"id {number} went to {n} users" for number, n in ids.items() if n > 1
        ]
        return found


def contradictions(person: Person, stored: list[tuple[int, str]]) -> list[str]:
    """Say where the stored rows of a person contradict what its client was told."""
    if len(stored) > 1:
        return [f"{person.email} is stored {len(stored)} times"]
    if not stored:
        return [] if person.may_be_absent else [f"{person.email} is lost"]
    [(number, name)] = stored
    if person.deleted:
        return [f"{person.email} is stored, but its deletion was acknowledged"]
    if person.acknowledged and number != person.id:
        return [f"{person.email} has id {number}, but {person.id} was acknowledged"]
    if name not in person.names:
        return [f"{person.email} is called {name!r}, not one of {person.names}"]
    return []


def told(statuses: Counter[int]) -> str:
    """Write how many answers had which status, as in `8 x 200, 2 x 503`."""
    return ", ".join(
        f"{number} x {status}" for status, number in sorted(statuses.items())
    )


class Load:
    """Clients that write and read users until they are told to stop."""

    def __init__(
        self, urls: tuple[str, ...], clients: int, *, keep_alive: bool = True
    ) -> None:
        """Prepare `clients` clients, spread over the replicas at `urls`."""
        self.urls = urls
        # A balancer of connections then has one for each request.
        self.limits = httpx2.Limits(max_keepalive_connections=None if keep_alive else 0)
        self.record = Record(clients)
        self._run = next(_loads)
        self._stopping = False
        self._paused = False
        self._resting = 0
        self._thread = threading.Thread(target=self._work)
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Let the clients begin."""
        self._thread.start()

    def stop(self) -> None:
        """Let every client finish its request, and wait for all of them."""
        self._stopping = True
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def pause(self) -> None:
        """Let every client finish its request, and send no other until `resume`."""
        self._paused = True
        self.wait_until(lambda: self._resting == self.record.clients)

    def resume(self) -> None:
        """Let the clients go on."""
        self._paused = False

    def wait_until(self, condition: Callable[[], bool], seconds: float = 90) -> None:
        """Wait for `condition`; raises AssertionError with the answers otherwise."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                failures = [a for a in self.record.answers if not a.as_expected]
                kinds = Counter(
                    f"{a.operation} {a.status} {a.detail[:60]}" for a in failures
                )
                message = f"{self.record.statuses()}, failures {kinds}"
                raise AssertionError(message)
            time.sleep(0.1)

    def wait_for_rounds(self, requests: int, since: float = 0) -> None:
        """Wait until every client got `requests` good answers after `since`."""
        self.wait_until(lambda: self.record.fewest_since(since) >= requests)

    def _work(self) -> None:
        try:
            asyncio.run(self._all())
        except BaseException as error:
            self._failure = error

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self.record.clients):
                group.create_task(self._client(number))

    async def _client(self, number: int) -> None:
        async with httpx2.AsyncClient(
            base_url=self.urls[number % len(self.urls)],
            timeout=REQUEST_SECONDS,
            limits=self.limits,
            verify=NO_TLS,
            trust_env=False,
        ) as http:
            client = Client(number, http, self.record, f"r{self._run}")
            rounds = client.rounds()
            while not self._stopping:
                if self._paused:
                    await self._rest()
                await anext(rounds)

    async def _rest(self) -> None:
        self._resting += 1
        while self._paused and not self._stopping:
            await asyncio.sleep(REST_SECONDS)
        self._resting -= 1


class Client:
    """One client: it works through the operations, one request at a time."""

    def __init__(
        self, number: int, http: httpx2.AsyncClient, record: Record, prefix: str
    ) -> None:
        """Name the client by its number; `prefix` tells one load from another."""
        self.number = number
        self.http = http
        self.record = record
        self.prefix = prefix
        self.made = 0

    async def rounds(self) -> AsyncIterator[None]:
        """Work through the operations for ever, and yield after every request."""
        while True:
            person = await self.create()
            yield
            if not person.acknowledged:
                continue
            await self.read(person)
            yield
            await self.create_again(person)
            yield
            await self.rename(person)
            yield
            await self.page()
            yield
            await self.create_refused()
            yield
            await self.read(person)
            yield
            if self.made % 2 == 0:
                await self.delete(person)
                yield

    async def create(self) -> Person:
        """Create a user that nobody has tried to create before."""
        self.made += 1
        name = f"first name {self.made}"
        email = f"{self.prefix}.{self.number}.{self.made}@Example.com"
        person = Person(email, {name}, {name})
        self.record.persons[email] = person
        response = await self.send(
            "create", 201, "POST", "/users", {"name": name, "email": email}
        )
        if response is not None:
            person.id = response.json()["id"]
            person.acknowledged = True
            person.may_be_absent = False
            self.check(person, response)
        return person

    async def read(self, person: Person) -> None:
        """Read a user of this client."""
        response = await self.send("read", 200, "GET", f"/users/{person.id}")
        if response is not None:
            self.check(person, response)

    async def create_again(self, person: Person) -> None:
        """Fail to create a user with an email address that is taken."""
        body = {"name": "doubled", "email": person.email.upper()}
        await self.send("create again", 409, "POST", "/users", body)

    async def rename(self, person: Person) -> None:
        """Give a user another name."""
        name = f"second name {self.made}"
        person.names.add(name)
        person.ever.add(name)
        response = await self.send(
            "rename", 200, "PATCH", f"/users/{person.id}", {"name": name}
        )
        if response is not None:
            person.names = {name}
            self.check(person, response)

    async def page(self) -> None:
        """List users of all clients; none may be of a transaction that failed."""
        early = max(0, len(self.record.persons) - 2 * self.record.clients)
        path = f"/users?limit=100&after={early // 2}"
        response = await self.send("list", 200, "GET", path)
        if response is None:
            return
        rows = response.json()
        ids = [row["id"] for row in rows]
        if ids != sorted(set(ids)):
            self.record.contradictions.append(f"the ids of a page are {ids}")
        self.record.contradictions += [
            f"a page shows {row}"
            for row in rows
            if not row["email"].endswith(OTHERS)
            and not self.record.knows(row["email"], row["name"])
        ]

    async def create_refused(self) -> None:
        """Fail to create a user that COMMIT refuses."""
        email = f"refused.{self.prefix}.{self.number}.{self.made}@example.com"
        body = {"name": REFUSED, "email": email}
        await self.send("create refused", 409, "POST", "/users", body)

    async def delete(self, person: Person) -> None:
        """Delete a user, and read that it is gone."""
        person.may_be_absent = True
        response = await self.send("delete", 204, "DELETE", f"/users/{person.id}")
        if response is not None:
            person.deleted = True
            await self.send("read deleted", 404, "GET", f"/users/{person.id}")

    def check(self, person: Person, response: httpx2.Response) -> None:
        """Note where a response shows another user than the one that was written."""
        shown = response.json()
        expected = (person.id, person.email)
        if (shown["id"], shown["email"]) != expected or (
            shown["name"] not in person.names
        ):
            self.record.contradictions.append(f"{person} was shown as {shown}")

    async def send(
        self,
        operation: str,
        expected: int,
        method: str,
        path: str,
        body: dict[str, str] | None = None,
    ) -> httpx2.Response | None:
        """Send a request and record its answer; return the response if as expected."""
        started = time.monotonic()
        response: httpx2.Response | None = None
        try:
            response = await self.http.request(method, path, json=body)
        except httpx2.HTTPError as error:
            detail = repr(error)
        else:
            detail = response.text[:300]
        answer = Answer(
            operation=operation,
            client=self.number,
            expected=expected,
            status=None if response is None else response.status_code,
            detail=detail,
            started=started,
            finished=time.monotonic(),
            retry_after=None
            if response is None
            else response.headers.get("Retry-After"),
        )
        self.record.answers.append(answer)
        if answer.as_expected:
            return response
        await asyncio.sleep(REST_SECONDS)
        return None


@contextmanager
def load(*urls: str, clients: int, keep_alive: bool = True) -> Iterator[Load]:
    """Let `clients` clients work on a service, at its replicas, to the block's end."""
    running = Load(urls, clients, keep_alive=keep_alive)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def refuse_at_commit(database: Database) -> None:
    """Let COMMIT fail for rows named REFUSED, by a deferred constraint."""
    database.execute(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'refused at commit' USING ERRCODE = 'exclusion_violation';
        END $$;
        CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON users
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
            WHEN (NEW.name = '{REFUSED}') EXECUTE FUNCTION refuse();
        """
    )
