"""What Neon's proxy does before PgBouncer: it ends TLS and binds channels.

PgBouncer knows no SCRAM-SHA-256-PLUS. So a client proves here that it has the
password, bound to this server's certificate or not as it likes; then this proves the
same to PgBouncer, and from there on hands bytes from one to the other.

https://www.postgresql.org/docs/current/protocol-flow.html
https://www.rfc-editor.org/rfc/rfc5802
"""

import asyncio
import hashlib
import hmac
import os
import re
import ssl
import struct
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path

POOLER = "pooler"
PORT = 5432
CERTIFICATE = Path("/tls/server.pem")
PASSWORD = re.findall(r'"(.*?)"', Path("/neon/userlist.txt").read_text())[1]

# While this file is there, no compute starts: an error of the proxy's own.
# https://neon.com/docs/connect/connection-errors#couldnt-connect-to-compute-node
BROKEN = Path("/tmp/broken")  # noqa: S108 (in the container)
NO_COMPUTE = ("XX000", "Couldn't connect to compute node")

SSL_REQUEST = 80877103
CANCEL_REQUEST = 80877102
SASL, SASL_CONTINUE, SASL_FINAL = 10, 11, 12
ITERATIONS = 4096
PLAIN_HEADER = b"n,,"
BINDING_HEADER = b"p=tls-server-end-point,,"


@dataclass(frozen=True)
class Peer:
    """One end of the front."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def receive_startup(self) -> bytes:
        """Receive a message that has no type."""
        length = await self.reader.readexactly(4)
        return length + await self.reader.readexactly(int.from_bytes(length) - 4)

    async def receive(self) -> tuple[bytes, bytes]:
        """Receive the type and the body of a message."""
        kind = await self.reader.readexactly(1)
        length = int.from_bytes(await self.reader.readexactly(4))
        return kind, await self.reader.readexactly(length - 4)

    def send(self, kind: bytes, body: bytes) -> None:
        """Send a message."""
        self.writer.write(kind + struct.pack("!i", len(body) + 4) + body)

    def refuse(self, code: str, message: str) -> None:
        """Send an error that ends the connection."""
        self.send(b"E", f"SFATAL\0VFATAL\0C{code}\0M{message}\0\0".encode())

    async def pass_on_to(self, other: "Peer") -> None:
        """Hand over every byte until this end closes."""
        try:
            while data := await self.reader.read(65536):
                other.writer.write(data)
                await other.writer.drain()
        finally:
            other.writer.close()


def channel_binding() -> bytes:
    """Return the `tls-server-end-point` of this server."""
    end = "-----END CERTIFICATE-----\n"
    first = CERTIFICATE.read_text().split(end)[0] + end
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).digest()


def proof_and_signature(
    salt: bytes, iterations: int, messages: bytes
) -> tuple[bytes, bytes]:
    """Return what client and server prove that they know the password with."""
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    signature = hmac.digest(stored_key, messages, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    return proof, hmac.digest(server_key, messages, "sha256")


def fields(message: bytes) -> dict[str, bytes]:
    """Return the attributes of a SCRAM message."""
    parts = (part.split(b"=", 1) for part in message.split(b","))
    return {name.decode(): value for name, value in parts}


async def check_client(client: Peer) -> None:
    """Let the client prove that it has the password; raises ValueError otherwise."""
    mechanisms = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"
    client.send(b"R", struct.pack("!i", SASL) + mechanisms)
    _, body = await client.receive()
    mechanism, _, rest = body.partition(b"\0")
    first = rest[4:]
    bound = mechanism.endswith(b"-PLUS")
    header = BINDING_HEADER if bound else PLAIN_HEADER
    if not first.startswith(header):
        raise ValueError(first)
    first = first.removeprefix(header)
    nonce = fields(first)["r"] + b64encode(os.urandom(18))
    salt = os.urandom(16)
    reply = b"r=%b,s=%b,i=%d" % (nonce, b64encode(salt), ITERATIONS)
    client.send(b"R", struct.pack("!i", SASL_CONTINUE) + reply)
    _, last = await client.receive()
    unproved, _, proof = last.partition(b",p=")
    binding = header + (channel_binding() if bound else b"")
    messages = b",".join([first, reply, unproved])
    expected, signature = proof_and_signature(salt, ITERATIONS, messages)
    if unproved != b"c=%b,r=%b" % (b64encode(binding), nonce):
        raise ValueError(unproved)
    if not hmac.compare_digest(b64decode(proof), expected):
        raise ValueError(proof)
    client.send(b"R", struct.pack("!i", SASL_FINAL) + b"v=" + b64encode(signature))


async def open_pooler() -> Peer:
    """Connect to PgBouncer, with TLS."""
    pooler = Peer(*await asyncio.open_connection(POOLER, PORT))
    pooler.writer.write(struct.pack("!ii", 8, SSL_REQUEST))
    await pooler.reader.readexactly(1)
    context = ssl.create_default_context(cafile="/tls/ca.pem")
    context.check_hostname = False
    await pooler.writer.start_tls(context)
    return pooler


async def log_in(pooler: Peer) -> None:
    """Prove to PgBouncer what the client proved; stops before its last message."""
    await pooler.receive()
    first = b"n=,r=" + b64encode(os.urandom(18))
    whole = PLAIN_HEADER + first
    name = b"SCRAM-SHA-256\0"
    pooler.send(b"p", name + struct.pack("!i", len(whole)) + whole)
    _, body = await pooler.receive()
    reply = body[4:]
    given = fields(reply)
    unproved = b"c=%b,r=%b" % (b64encode(PLAIN_HEADER), given["r"])
    messages = b",".join([first, reply, unproved])
    proof, _ = proof_and_signature(b64decode(given["s"]), int(given["i"]), messages)
    pooler.send(b"p", unproved + b",p=" + b64encode(proof))
    await pooler.receive()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one client."""
    client = Peer(reader, writer)
    try:
        request = await client.receive_startup()
        if int.from_bytes(request[4:8]) != SSL_REQUEST:
            client.refuse("08P01", "SSL required")
            return
        writer.write(b"S")
        await writer.start_tls(server_context())
        startup = await client.receive_startup()
        cancels = int.from_bytes(startup[4:8]) == CANCEL_REQUEST
        if not cancels:
            await check_client(client)
        if BROKEN.exists():
            client.refuse(*NO_COMPUTE)
            return
        pooler = await open_pooler()
        pooler.writer.write(startup)
        if not cancels:
            await log_in(pooler)
        await asyncio.gather(client.pass_on_to(pooler), pooler.pass_on_to(client))
    except ValueError:
        client.refuse("28P01", "password authentication failed")
    except (OSError, EOFError) as error:
        print("front:", repr(error), flush=True)
    finally:
        writer.close()


def server_context() -> ssl.SSLContext:
    """Return the TLS settings for clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, "/tls/server.key")
    return context


async def main() -> None:
    """Serve until the end."""
    server = await asyncio.start_server(serve, "0.0.0.0", PORT)  # noqa: S104
    await server.serve_forever()


asyncio.run(main())
