"""What follows from a command, without a database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ulid import ULID

from events.client import ClientRegistered, ClientSettings, ClientUpdated, Event, SettingsChange, Status
from events.errors import OutOfOrder
from events.record import Actor, Record
from projections.clients import Client, apply
from service.commands import (
    AddSecret,
    CloneClient,
    Command,
    DeactivateSecret,
    DeleteClient,
    DeleteSecret,
    RegisterClient,
    RotateSecret,
    SealedSecret,
    UpdateClient,
)
from service.decisions import LIST_LIMIT, decide
from service.refusals import (
    ClientExists,
    ClientNotFound,
    CredentialNeeded,
    InvalidRequest,
    LastSecret,
    NoSecretUsed,
    SecretNotFound,
    TooManySecrets,
    VersionMoved,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SEALED = SealedSecret(hash="$argon2id$", last_four="abcd")
ACTOR = Actor(subject="s", role="admin", request_id="r")
SETTINGS = ClientSettings(
    name="plain",
    redirect_uris=("https://app.example.com/callback",),
    scopes=("openid",),
    grant_types=("authorization_code",),
    client_auth_methods=("client_secret_basic",),
    cors_origins=(),
    is_confidential=True,
)


class Story:
    """A client through its commands: each is decided at a time and its events are applied."""

    def __init__(self, settings: ClientSettings = SETTINGS, status: Status = "active") -> None:
        self.client: Client | None = None
        self.events: list[Event] = []
        self.do(RegisterClient, id=str(ULID()), settings=settings, sealed=SEALED, status=status)

    def do(self, kind: type[Command], at: datetime = NOW, **fields: Any) -> list[str]:
        """Decide and apply; returns the names of the events."""
        command = kind(tenant_id="t", actor=ACTOR, reads="app-x", **fields)
        decision = decide(self.client, command, at)
        for number, event in enumerate(decision.events):
            self.client = apply(
                self.client,
                Record(
                    event_id=command.event_id,
                    tenant_id="t",
                    position=len(self.events) + 1,
                    schema_version=1,
                    client_id=decision.client_id,
                    client_version=self.client.version + 1 if self.client else 1,
                    time=at,
                    actor=ACTOR,
                    data=event,
                ),
            )
            self.events.append(event)
            assert decision.private is None or number == 0
        return [type(event).__name__ for event in decision.events]

    @property
    def now(self) -> Client:
        assert self.client is not None
        return self.client

    def usable(self, at: datetime = NOW) -> list[str]:
        """Ids of the secrets that work at *at*, oldest first."""
        return [secret.secret_id for secret in self.now.secrets if secret.is_usable(at)]

    def rotate(self, at: datetime = NOW, grace: timedelta = 4 * HOUR) -> str:
        """Rotate, and return the id of the new secret."""
        self.do(RotateSecret, at, sealed=SEALED, grace_s=grace.total_seconds())
        return self.now.secrets[-1].secret_id


def test_update_holds_what_changed() -> None:
    """An update records the settings that got another value, those that lost theirs, and no others."""
    story = Story()
    change = SettingsChange(name="other", scopes=("openid",), website="https://app.example.com")

    assert story.do(UpdateClient, changed=change) == ["ClientUpdated"]
    assert story.do(UpdateClient, removed=("website", "logo_url")) == ["ClientUpdated"]

    assert story.events[1:] == [
        ClientUpdated(changed=SettingsChange(name="other", website="https://app.example.com")),
        ClientUpdated(changed=SettingsChange(), removed=("website",)),
    ]
    assert story.now.settings == ClientSettings(**{**_fields(SETTINGS), "name": "other"})


def _fields(settings: ClientSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in ClientSettings.__struct_fields__}


def test_update_that_changes_nothing() -> None:
    """An update to what is there already is no event."""
    story = Story()

    assert story.do(UpdateClient, changed=SettingsChange(name="plain"), removed=("jwks",), status="active") == []
    assert story.now.version == 1


def test_status_has_events_of_its_own() -> None:
    """A change of status is its own event, also beside a change of settings."""
    story = Story()

    assert story.do(UpdateClient, status="suspended") == ["ClientSuspended"]
    assert story.do(UpdateClient, status="inactive", changed=SettingsChange(name="b")) == [
        "ClientUpdated",
        "ClientDeactivated",
    ]
    assert story.do(UpdateClient, status="active") == ["ClientReactivated"]
    assert (story.now.version, story.now.status) == (5, "active")


def test_update_is_validated_as_a_whole() -> None:
    """What an update leads to must keep the rules; a change of status alone asks nothing of old settings."""
    story = Story()
    with pytest.raises(InvalidRequest):
        story.do(UpdateClient, changed=SettingsChange(client_auth_methods=("private_key_jwt",)))

    old = apply(None, _registered(ClientSettings(**{**_fields(SETTINGS), "grant_types": ("implicit",)})))
    suspend = UpdateClient(tenant_id="t", actor=ACTOR, reads="app-x", status="suspended")
    assert [type(event).__name__ for event in decide(old, suspend, NOW).events] == ["ClientSuspended"]


def _registered(settings: ClientSettings) -> Record:
    return Record(
        event_id="e",
        tenant_id="t",
        position=1,
        schema_version=1,
        client_id="app-x",
        client_version=1,
        time=NOW,
        actor=ACTOR,
        data=ClientRegistered(id="1", status="active", settings=settings),
    )


def test_a_deleted_client_is_not_there() -> None:
    """After its deletion nothing can be asked of a client, and its id is not used again."""
    story = Story()
    assert story.do(DeleteClient) == ["ClientDeleted"]

    later: dict[type[Command], dict[str, Any]] = {
        DeleteClient: {},
        UpdateClient: {"status": "active"},
        RotateSecret: {"sealed": SEALED, "grace_s": 1},
        CloneClient: {"id": "2", "client_id": "app-y", "sealed": SEALED},
    }
    for kind, fields in later.items():
        with pytest.raises(ClientNotFound):
            story.do(kind, **fields)
    with pytest.raises(ClientExists):
        story.do(RegisterClient, id="3", settings=SETTINGS, sealed=SEALED)


def test_versions_that_moved() -> None:
    """A command for a version that is not the client's is refused, whatever it asks for."""
    story = Story()
    story.do(UpdateClient, changed=SettingsChange(name="b"), expected_version=1)

    later: dict[type[Command], dict[str, Any]] = {
        UpdateClient: {},
        DeleteClient: {},
        RotateSecret: {"sealed": SEALED, "grace_s": 1},
    }
    for kind, fields in later.items():
        with pytest.raises(VersionMoved):
            story.do(kind, expected_version=1, **fields)


def test_rotation() -> None:
    """The old secret works until the end of its grace, the new one after it too."""
    story = Story()
    old = story.usable()[0]

    new = story.rotate()

    assert story.usable() == [old, new]
    assert story.usable(NOW + 4 * HOUR - timedelta(microseconds=1)) == [old, new]
    assert story.usable(NOW + 4 * HOUR) == [new]


def test_rotations_in_a_row() -> None:
    """Two active at most besides one in its grace, which is kept: nobody's secret stops before its time."""
    story = Story()
    old = story.usable()[0]
    first = story.rotate()
    second = story.rotate(NOW + HOUR)

    assert story.usable(NOW + HOUR) == [old, first, second]
    with pytest.raises(TooManySecrets):
        story.rotate(NOW + 2 * HOUR)
    third = story.rotate(NOW + 4 * HOUR)
    assert story.usable(NOW + 4 * HOUR) == [first, second, third]
    assert story.usable(NOW + 8 * HOUR) == [second, third]


def test_rotation_of_two_active_secrets() -> None:
    """Of two active secrets the older one is retired."""
    story = Story()
    old = story.usable()[0]
    story.do(AddSecret, sealed=SEALED)
    added = story.now.secrets[-1].secret_id

    new = story.rotate()

    assert story.usable() == [old, added, new]
    assert story.usable(NOW + 4 * HOUR) == [added, new]


def test_rotation_never_lengthens_a_life() -> None:
    """A secret that expires sooner than its grace ends still expires then."""
    story = Story()
    story.do(AddSecret, sealed=SEALED, expires_at=NOW + 2 * HOUR)
    story.do(DeleteSecret, secret_id=story.now.secrets[0].secret_id)

    new = story.rotate()

    assert story.usable(NOW + 2 * HOUR) == [new]


def test_two_active_secrets_at_most() -> None:
    """A third active secret is refused; one that expired or was deactivated makes room."""
    story = Story()
    story.do(AddSecret, sealed=SEALED, expires_at=NOW + HOUR)
    with pytest.raises(TooManySecrets):
        story.do(AddSecret, sealed=SEALED)

    story.do(AddSecret, NOW + HOUR, sealed=SEALED)
    story.do(DeactivateSecret, NOW + HOUR, secret_id=story.now.secrets[0].secret_id)
    story.do(AddSecret, NOW + HOUR, sealed=SEALED)

    assert len(story.usable(NOW + HOUR)) == 2


def test_deactivation() -> None:
    """A deactivated secret does not work and stays in the list; to do it again changes nothing."""
    story = Story()
    secret_id = story.usable()[0]

    assert story.do(DeactivateSecret, secret_id=secret_id) == ["SecretDeactivated"]
    assert story.do(DeactivateSecret, secret_id=secret_id) == []

    assert story.usable() == []
    assert [secret.status for secret in story.now.secrets] == ["inactive"]


def test_the_last_secret_stays() -> None:
    """The last secret that works cannot be deleted, nor the last of all; a retired one can."""
    story = Story()
    with pytest.raises(LastSecret):
        story.do(DeleteSecret, secret_id=story.usable()[0])
    story.do(AddSecret, sealed=SEALED)
    story.do(DeactivateSecret, secret_id=story.now.secrets[0].secret_id)
    with pytest.raises(LastSecret):
        story.do(DeleteSecret, secret_id=story.now.secrets[1].secret_id)
    story.rotate()
    retired = next(secret for secret in story.now.secrets if secret.status == "retired")

    assert story.do(DeleteSecret, secret_id=retired.secret_id) == ["SecretDeleted"]
    assert len(story.usable()) == 1


def test_unknown_secrets() -> None:
    """A secret that the client has not is not found."""
    for kind in (DeleteSecret, DeactivateSecret):
        with pytest.raises(SecretNotFound):
            Story().do(kind, secret_id="01J00000000000000000000000")


def test_the_list_is_bounded() -> None:
    """However often secrets are added and deactivated, the client's state does not grow without end."""
    story = Story()
    for _ in range(3 * LIST_LIMIT):
        story.do(AddSecret, sealed=SEALED)
        story.do(DeactivateSecret, secret_id=story.now.secrets[-1].secret_id)

    assert len(story.now.secrets) <= LIST_LIMIT + 1
    assert len(story.usable()) <= 3


def test_clients_without_use_for_a_secret() -> None:
    """A client whose methods use no secret is given none; one that starts to needs one with its clone."""
    keyless = ClientSettings(**{**_fields(SETTINGS), "client_auth_methods": ("none",), "is_confidential": False})
    story = Story(keyless)
    assert story.now.secrets == ()
    more: dict[type[Command], dict[str, Any]] = {RotateSecret: {"grace_s": 1}, AddSecret: {}}
    for kind, fields in more.items():
        with pytest.raises(NoSecretUsed):
            story.do(kind, sealed=SEALED, **fields)

    with pytest.raises(CredentialNeeded):
        decide(
            Story().client,
            CloneClient(tenant_id="t", actor=ACTOR, reads="app-x", id="2", client_id="app-y", sealed=None),
            NOW,
        )


@pytest.mark.parametrize("status", ["active", "suspended", "inactive"])
def test_clone_with_overrides(status: Status) -> None:
    """A clone takes what is overridden and keeps the rest, the status above all; a given name has no suffix."""
    story = Story(status=status)
    command = CloneClient(
        tenant_id="t",
        actor=ACTOR,
        reads="app-x",
        id="2",
        client_id="app-y",
        sealed=SEALED,
        overrides=SettingsChange(name="copy", redirect_uris=("https://other.example.com/cb",)),
    )

    clone = apply(
        None, Record(**{**_fields_of(_registered(SETTINGS)), "data": decide(story.client, command, NOW)[1][0]})
    )

    assert (clone.status, clone.settings.name) == (status, "copy")
    assert clone.settings.redirect_uris == ("https://other.example.com/cb",)
    assert clone.settings.scopes == SETTINGS.scopes
    assert clone.cloned_from == "app-x"


def _fields_of(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in Record.__struct_fields__}


def test_events_out_of_order() -> None:
    """An event that cannot follow a state is not guessed at: the log is damaged."""
    first = _registered(SETTINGS)
    client = apply(None, first)
    with pytest.raises(OutOfOrder):
        apply(client, first)
    story = Story()
    story.do(DeleteClient)
    with pytest.raises(OutOfOrder):
        apply(None, Record(**{**_fields_of(first), "data": story.events[-1]}))
    with pytest.raises(OutOfOrder):
        apply(client, Record(**{**_fields_of(first), "client_version": 3, "data": story.events[-1]}))
