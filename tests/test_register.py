"""POST /admin/oauth/clients/ against the whole table of good and bad settings."""

import asyncio
import json
from typing import Any

import msgspec

from service.reading import BODY_LIMIT
from tests.callers import Api
from tests.settings_table import BAD, GOOD, changed

CLIENTS = "/admin/oauth/clients/"


def body(changes: Any) -> dict[str, Any] | None:
    """The settings as a request; None where no JSON could carry them, or no body within its limit."""
    settings = msgspec.structs.asdict(changed(changes))
    present = {name: value for name, value in settings.items() if value is not None}
    try:
        text = json.dumps(present, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return None
    return dict(json.loads(text)) if len(text) <= BODY_LIMIT else None


async def test_every_bad_setting_is_refused(api: Api) -> None:
    """Each bad setting of the table is 400 with a violation of its field, message and reference; never a 500."""
    rows = [(row, text) for row in BAD if (text := body(row.changes)) is not None]
    assert len(rows) > 150

    replies = await asyncio.gather(*(api.post(CLIENTS, json=text) for _, text in rows))

    for (row, _), reply in zip(rows, replies, strict=True):
        assert (reply.status, reply.body["code"]) == (400, 400003), row
        blamed = [violation for violation in reply.body["violations"] if violation["field"] == row.field]
        assert any(row.reference in violation["reference"] for violation in blamed), row
        assert all(violation["message"] for violation in blamed)


async def test_every_good_setting_is_registered(api: Api) -> None:
    """Each good setting of the table is 201, and is shown as it was sent."""
    rows = [text for row in GOOD if (text := body(row.changes)) is not None]
    assert len(rows) > 60

    replies = await asyncio.gather(*(api.post(CLIENTS, json=text) for text in rows))

    for text, reply in zip(rows, replies, strict=True):
        assert reply.status == 201, (text, reply.body)
        shown = {**reply.data, "client_auth_methods": json.loads(reply.data["client_auth_methods"])}
        assert {name: shown[name] for name in text} == text


async def test_public_clients(api: Api) -> None:
    """A public client that names no method has none; the default would be a secret that it cannot keep."""
    registered = await api.post(CLIENTS, json={"name": "p", "redirect_uris": ["a.b:/cb"], "is_confidential": False})

    assert (registered.status, registered.data["client_auth_methods"]) == (201, '["none"]')
    assert "client_secret" not in registered.data
