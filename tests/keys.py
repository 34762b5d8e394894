"""Clients' keys, the JWTs they sign, and a server on this machine that publishes key sets as if it were far away."""

import json
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.jwk import ECKey, Key
from ulid import ULID

from service.authentication.handlers import JWT_BEARER

AUDIENCE = "https://as.example/token"
HOST = "keys.example.com"


def new_key(kid: str = "one") -> ECKey:
    """A private key of a client."""
    return ECKey.generate_key("P-256", parameters={"kid": kid})


def key_set(*keys: Key, private: bool = False) -> str:
    """The JWK Set that publishes *keys*."""
    return json.dumps({"keys": [key.as_dict(private=private) for key in keys]})


def claims(client_id: str, **changes: Any) -> dict[str, Any]:
    """What a good assertion says, with *changes*; None leaves a claim out."""
    now = int(time.time())
    good = {"iss": client_id, "sub": client_id, "aud": AUDIENCE, "iat": now, "exp": now + 300, "jti": str(ULID())}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(key: Key, payload: dict[str, Any], *, alg: str = "ES256", **header: Any) -> str:
    """A JWT with *payload* by *key*."""
    given = {"alg": alg, **({"kid": key.kid} if key.kid else {}), **header}
    chosen = {name: value for name, value in given.items() if value is not None}
    return jwt.encode(chosen, payload, key, algorithms=[alg])


def presented(assertion: str, **changes: Any) -> dict[str, Any]:
    """What an authorization server passes on."""
    return {
        "client_assertion_type": JWT_BEARER,
        "client_assertion": assertion,
        "audience": ["https://as.example", AUDIENCE],
        **changes,
    }


class Names(AbstractResolver):
    """Looks names up in a table, each time to the next of the name's lists of addresses, and the last for good."""

    def __init__(self, **table: list[str]) -> None:
        self.table = {name.replace("_", "."): addresses for name, addresses in table.items()}

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 (the table has both)
    ) -> list[ResolveResult]:
        addresses = self.table[host]
        address = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=kind, proto=0, flags=int(socket.AI_NUMERICHOST)
            )
        ]

    async def close(self) -> None:
        """Nothing is held."""


class Publisher:
    """A key server: what it answers, and how often it was asked."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        self.trust = trust
        self.asked = 0
        self.seen: list[web.Request] = []
        self.answer: Any = lambda: web.Response(text="{}")
        self.port = 0

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}/jwks.json"

    def publish(self, *keys: Key) -> None:
        """Answer with the set of *keys* from now on."""
        self.answer = lambda: web.Response(text=key_set(*keys), content_type="application/jwk-set+json")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        self.seen.append(request)
        answered = self.answer()
        return answered if isinstance(answered, web.StreamResponse) else await answered


@asynccontextmanager
async def publisher(directory: Path) -> AsyncIterator[Publisher]:
    """A key server on a loopback address, with a certificate for HOST that `trust` trusts."""
    certificate, trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    pem = _certificate(directory)
    certificate.load_cert_chain(pem)
    trust.load_verify_locations(pem)
    publisher = Publisher(trust)
    app = web.Application()
    app.router.add_get("/{anything:.*}", publisher.handle)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=certificate)
    publisher.port = server.port or 0
    yield publisher
    await server.close()


def _certificate(directory: Path) -> Path:
    """A self-signed certificate for HOST and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / "server.pem"
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
