"""A first client to play with: the contract's own example, planted where the registry is empty."""

from aiohttp import web
from ulid import ULID

from events.client import ClientSettings
from events.database import borrowed
from events.record import Actor
from projections.clients import load
from service.commands import RegisterClient, SealedSecret
from service.requests import DESK, HASHER, READS, TIMEOUT_S

TENANT_ID = "demo"
CLIENT_ID = "app-demo"

_SETTINGS = ClientSettings(
    name="My Application",
    redirect_uris=("https://app.example.com/callback",),
    scopes=("openid", "profile", "email"),
    grant_types=("authorization_code", "refresh_token"),
    client_auth_methods=("client_secret_basic", "private_key_jwt"),
    cors_origins=("https://app.example.com",),
    is_confidential=True,
    fapi_profile="fapi1",
    jwks_uri="https://client.example.com/.well-known/jwks.json",
)

_EMPTY = "select not exists (select from heads where position > 0)"


async def plant(app: web.Application) -> bool:
    """Register the demo client, unless any tenant ever wrote anything; returns whether it is there, then or since."""
    async with borrowed(app[READS], app[TIMEOUT_S]) as connection:
        if not await connection.fetchval(_EMPTY):
            client = (await load(connection, [(TENANT_ID, CLIENT_ID)])).get((TENANT_ID, CLIENT_ID))
            return client is not None and client.deleted_at is None
    credential = await app[HASHER].mint(TENANT_ID)
    await app[DESK].submit(
        RegisterClient(
            tenant_id=TENANT_ID,
            actor=Actor(subject="mitosis", role="system", request_id=str(ULID())),
            reads=CLIENT_ID,
            id=str(ULID()),
            settings=_SETTINGS,
            sealed=SealedSecret(hash=credential.hash, last_four=credential.last_four),
        )
    )
    return True
