"""
Logs of any size, of clients as they live: registered, cloned, changed, rotated, suspended and deleted.

    python -m tests.bench.records URL TENANT COUNT
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any
from unittest.mock import patch

import asyncpg
from ulid import ULID

from events import log
from events.client import ClientSettings, SettingsChange
from events.errors import Refused
from events.log import Conn
from events.record import Actor
from projections.clients import Client, save
from service.commands import (
    AddSecret,
    CloneClient,
    Command,
    DeactivateSecret,
    DeleteClient,
    RegisterClient,
    RotateSecret,
    SealedSecret,
    UpdateClient,
)
from service.decisions import needs_secret
from service.turn import Turn

BATCH = 5000  # records of one transaction
_REMEMBERED = 20_000  # clients that something may still happen to: the newest

_PRODUCTS = ("Billing", "Ledger", "Payroll", "Inventory", "Claims", "Onboarding", "Reporting", "Trading", "Loyalty")
_KINDS = ("Portal", "Gateway", "Worker", "Mobile App", "Dashboard", "Back Office", "Partner API")
_STAGES = ("production", "staging", "qa", "sandbox")
_SCOPES = ("openid", "profile", "email", "offline_access", "accounts:read", "accounts:write", "payments", "reports")
_HAPPENING = {"update": 46, "rotate": 16, "clone": 14, "suspend": 6, "resume": 6, "register": 5, "add": 4, "drop": 2}
_DELETED = 1  # of a hundred


class Lives:
    """
    What administrators ask for, one command after the other. Some of it would be refused.

    Attributes:
        clients: those that something may happen to, as `Turn` reads them. Whoever applies the commands keeps them.
    """

    def __init__(self, tenant_id: str, random: Random) -> None:
        self.clients: dict[tuple[str, str], Client] = {}
        self._tenant_id = tenant_id
        self._random = random
        self._names: list[str] = []

    def next(self) -> Command:
        """The next one."""
        if not self._names:
            return self._register()
        kinds = {**_HAPPENING, "delete": _DELETED}
        (kind,) = self._random.choices(list(kinds), list(kinds.values()))
        return self._register() if kind == "register" else self._change(kind)

    def keep(self, client: Client) -> None:
        """Go on with *client* as it is now; the oldest of too many is left alone from then on."""
        key = (self._tenant_id, client.client_id)
        if key not in self.clients:
            self._names.append(client.client_id)
        self.clients[key] = client
        if len(self._names) > _REMEMBERED:
            del self.clients[self._tenant_id, self._names.pop(0)]

    def _register(self) -> Command:
        ulid, settings = str(ULID()), self._settings()
        secret = self._secret() if needs_secret(settings) else None
        return RegisterClient(
            tenant_id=self._tenant_id,
            actor=self._actor(),
            reads=f"app-{ulid.lower()}",
            id=ulid,
            settings=settings,
            sealed=secret,
        )

    def _change(self, kind: str) -> Command:
        name = self._random.choice(self._names)
        client = self.clients[self._tenant_id, name]
        about: Any = {"tenant_id": self._tenant_id, "actor": self._actor(), "reads": name}
        commands: dict[str, Callable[[], Command]] = {
            "clone": lambda: self._clone(client, about),
            "rotate": lambda: RotateSecret(**about, sealed=self._secret(), grace_s=0.0),
            "add": lambda: AddSecret(**about, sealed=self._secret()),
            "drop": lambda: DeactivateSecret(**about, secret_id=client.secrets[0].secret_id if client.secrets else ""),
            "suspend": lambda: UpdateClient(**about, status="suspended"),
            "resume": lambda: UpdateClient(**about, status="active"),
            "delete": lambda: DeleteClient(**about),
            "update": lambda: UpdateClient(**about, changed=self._other()),
        }
        return commands[kind]()

    def _clone(self, client: Client, about: Any) -> Command:
        ulid = str(ULID())
        name = f"{client.settings.name.partition(' (')[0]} ({self._random.choice(_STAGES)})"
        return CloneClient(
            **about,
            id=ulid,
            client_id=f"app-{ulid.lower()}",
            sealed=self._secret() if needs_secret(client.settings) else None,
            overrides=SettingsChange(name=name),
        )

    def _other(self) -> SettingsChange:
        settings = self._settings()
        field = self._random.choice(("name", "redirect_uris", "scopes", "website", "cors_origins"))
        return SettingsChange(**{field: getattr(settings, field)})

    def _settings(self) -> ClientSettings:
        random = self._random
        product, kind, stage = random.choice(_PRODUCTS), random.choice(_KINDS), random.choice(_STAGES)
        host = f"https://{product.lower()}-{random.randrange(10_000)}.{stage}.example.com"
        by_key = random.random() < 0.2
        return ClientSettings(
            name=f"{product} {kind} {random.randrange(1000)} ({stage})",
            redirect_uris=tuple(f"{host}/callback/{number}" for number in range(random.randint(1, 4))),
            scopes=tuple(random.sample(_SCOPES, random.randint(2, 6))),
            grant_types=("authorization_code", "refresh_token"),
            client_auth_methods=("private_key_jwt",) if by_key else ("client_secret_basic", "client_secret_post"),
            cors_origins=(host,) if random.random() < 0.5 else (),
            is_confidential=True,
            jwks_uri=f"{host}/.well-known/jwks.json" if by_key else None,
            website=host,
            logo_url=f"{host}/logo.png" if random.random() < 0.5 else None,
        )

    def _secret(self) -> SealedSecret:
        last_four = f"{self._random.randrange(36**4):04x}"[-4:]
        parts = self._random.randbytes(16).hex()[:22], self._random.randbytes(32).hex()[:43]
        return SealedSecret(hash="$argon2id$v=19$m=19456,t=2,p=1${}${}".format(*parts), last_four=last_four)

    def _actor(self) -> Actor:
        subject = f"{self._random.choice(('ana', 'bo', 'chen', 'dilek'))}@{self._tenant_id}.example.com"
        address = f"198.51.100.{self._random.randrange(256)}"
        return Actor(subject=subject, role="admin", request_id=str(ULID()), address=address)


async def fill(
    conn: Conn, tenant_id: str, count: int, *, seed: int = 0, note: Callable[[int], None] = lambda _: None
) -> None:
    """
    Bring the log of *tenant_id* to *count* records, or one more, and its clients to what that leads to.

    Nobody else may write to the tenant meanwhile. *note* is told how many records there are.
    """
    lives = Lives(tenant_id, Random(seed))
    await log.open_heads(conn, [tenant_id])
    head = await log.head(conn, tenant_id)
    while head.position < count:
        turn, most = Turn({tenant_id: head}, lives.clients, {}), min(BATCH, count - head.position)
        with patch("service.decisions.check"):  # the rules cost more than all the rest, and refuse nothing here
            while len(turn.entries) < most:
                with suppress(Refused):
                    lives.keep(turn.take(lives.next()))
        async with conn.transaction():
            await log.append(conn, turn.entries, turn.heads)
            await save(conn, list(turn.changed.values()))
        head = turn.heads[tenant_id]
        note(head.position)


async def main(url: str, tenant_id: str, count: str) -> None:
    """See the module."""
    conn = await asyncpg.connect(url)
    try:
        await fill(conn, tenant_id, int(count), note=lambda there: print(f"{there:,}"))  # noqa: T201
    finally:
        await conn.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
