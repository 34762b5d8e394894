"""The chain as the browser checks it: to the letter as the service's own verifier does."""

import base64
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import rfc8785
from playwright.async_api import Page

from events import cloudevent
from events.verification.fault import KeptHead
from events.verification.verifier import Verification
from service.audit import heads
from service.jose import PublicKey
from tests.callers import Api
from tests.commands import Mitosis
from tests.console.conftest import OpenConsole

VECTORS = json.loads(Path(__file__).parents[2].joinpath("docs/log-format-vectors.json").read_text())
NAMES = ['"quotes" \\ /', "é e\u0301 漢字 Ω", "👩‍👧 \U0001d504 \U0010ffff", "</script> -0 1e400 \ufb33"]

_CHECK = """
async ({tenant, logs, heads}) => {
  const {Chain, found, foundIn} = await import("/console/chain.js");
  const verdicts = [];
  for (const [index, log] of logs.entries()) {
    const chain = new Chain(tenant);
    for (const head of heads[index]) chain.hold(head);
    for (const one of log) await chain.take(typeof one === "string" ? foundIn(one) : found(one.body, one.digest));
    await chain.end();
    const first = chain.faults.toSorted((one, other) => one.position - other.position)[0];
    verdicts.push({first: first ? [first.kind.replace("_", " "), first.position] : null, count: chain.faults.length,
      digest: chain.digest, position: chain.position, confirmed: chain.confirmed?.position ?? null});
  }
  return verdicts;
}
"""


@pytest.fixture
async def page(console: OpenConsole) -> AsyncIterator[Page]:
    """A page that can load the console's modules."""
    async with console(role=None) as page:
        yield page


async def checked(page: Page, tenant: str, logs: Iterable[Any], heads: Iterable[Any]) -> list[Any]:
    """What the browser says of each of *logs*, which should pass through the heads of the same place."""
    return list(await page.evaluate(_CHECK, {"tenant": tenant, "logs": list(logs), "heads": list(heads)}))


async def lines_of(api: Api) -> list[str]:
    """The tenant's log, a CloudEvent a line, as it came over the wire."""
    headers = {**api.headers, "Accept": "application/x-ndjson"}
    async with api.session.get(f"{api.base}/admin/audit/stream?limit=1000", headers=headers) as answer:
        return (await answer.text()).split("\n")[:-1]


def said(tenant: str, lines: Iterable[str], kept: Iterable[KeptHead]) -> tuple[str, int] | None:
    """The first fault that the service's verifier finds."""
    verification = Verification(tenant, kept)
    for line in lines:
        verification.take(cloudevent.decode(line))
    faults = verification.end(None).faults
    return (faults[0].kind, faults[0].position) if faults else None


async def test_the_vectors(page: Page) -> None:
    """The log of the vectors is whole; what was done to it is found at its position, and is called what it is."""
    tenant, log, damaged = VECTORS["tenant_id"], VECTORS["log"], VECTORS["damaged"]
    logs = [log, *([log[one - 1] if isinstance(one, int) else one for one in case["log"]] for case in damaged)]

    whole, *verdicts = await checked(page, tenant, logs, [VECTORS["heads"], *(case["heads"] for case in damaged)])

    assert whole == {
        "first": None,
        "count": 0,
        "digest": log[-1]["digest"],
        "position": len(log),
        "confirmed": len(log),
    }
    found = {case["done"]: verdict["first"] for case, verdict in zip(damaged, verdicts, strict=True)}
    assert found == {case["done"]: [case["kind"], case["position"]] for case in damaged}
    assert {case["done"]: verdict["count"] for case, verdict in zip(damaged, verdicts, strict=True)} == dict.fromkeys(
        found, 1
    )


async def test_what_the_service_writes(page: Page, api: Api, tenant: str, mitosis: Mitosis) -> None:
    """Records of all that people write, of secrets, and of hashes that were erased: whole, and the head's."""
    for name in NAMES:
        client = await api.register(name=name, redirect_uris=["https://app.example.com/?a=b&c=%20"])
        assert (await api.clone(client["client_id"])).status == 201
    path = f"/admin/oauth/clients/{client['client_id']}"
    assert (await api.post(f"{path}/rotate-secret")).status == 200
    assert (await api.put(path, json={"website": None, "scopes": ["b", "a"]})).status == 200
    assert (await api.delete(path)).status == 204
    assert (await mitosis("clients", "erase-sealed", "--tenant", tenant)).status == 0
    head = (await api.get("/admin/audit/head")).data
    lines = await lines_of(api)

    (verdict,) = await checked(page, tenant, [lines], [[head]])

    assert any('"SecretsErased"' in line for line in lines)
    assert verdict == {
        "first": None,
        "count": 0,
        "digest": head["digest"],
        "position": 12,
        "confirmed": 12,
    }
    assert (await mitosis("audit", "verify", "--tenant", tenant)).status == 0


async def test_nothing_can_be_changed(page: Page, api: Api, tenant: str) -> None:
    """Whatever member of whichever record is altered, browser and verifier find the same fault at the same position."""
    client = await api.register(name=NAMES[1])
    path = f"/admin/oauth/clients/{client['client_id']}"
    assert (await api.post(f"{path}/rotate-secret", json={"grace_period_s": 60})).status in {200, 400}
    assert (await api.put(path, json={"name": "other", "is_confidential": True})).status == 200
    assert (await api.clone(client["client_id"])).status == 201
    head = (await api.get("/admin/audit/head")).data
    lines = await lines_of(api)
    logs = [
        [*lines[:index], altered, *lines[index + 1 :]]
        for index, line in enumerate(lines)
        for altered in _alterations(line)
    ]
    logs += [[*lines[:index], *lines[index + 1 :]] for index in range(len(lines))]
    logs += [[*lines[: index + 1], *lines[index:]] for index in range(len(lines))]
    assert len(logs) > 80

    verdicts = await checked(page, tenant, logs, [[head]] * len(logs))

    kept = KeptHead(head["position"], bytes.fromhex(head["digest"]), "the head")
    expected = [said(tenant, log, [kept]) for log in logs]
    assert None not in expected
    found = [tuple(verdict["first"] or ()) for verdict in verdicts]
    differs = [(each, other, log) for each, other, log in zip(found, expected, logs, strict=True) if each != other]
    assert differs == []


def _alterations(line: str) -> Iterator[str]:
    """*line* with something else in one member of the body, or of what is beside it and counts."""
    event = msgspec.json.decode(line)
    for beside in ("digest", "id"):
        yield _line({**event, beside: event[beside][::-1]})
    yield _line({**event, "source": event["source"] + "x"})
    for body in _others(event["data"]):
        yield _line({**event, "data": body})


def _line(event: Any) -> str:
    head = {name: value for name, value in event.items() if name != "data"}
    return msgspec.json.encode(head).decode()[:-1] + ',"data":' + rfc8785.dumps(event["data"]).decode() + "}"


def _others(value: Any) -> Iterator[Any]:
    """*value* with another leaf, for each of them; or without it."""
    match value:
        case dict():
            for name, member in value.items():
                if name not in {"position", "tenant_id", "event_id"}:
                    yield {other: kept for other, kept in value.items() if other != name}
                for other in _others(member):
                    yield {**value, name: other}
        case list():
            yield [*value, "more"]
            for index, entry in enumerate(value):
                for other in _others(entry):
                    yield [*value[:index], other, *value[index + 1 :]]
        case _:
            yield not value if isinstance(value, bool) else value + ("\u200b" if isinstance(value, str) else 7)


async def test_the_canonical_form(page: Page) -> None:
    """RFC 8785, as another implementation has it: numbers, escapes, and names in the order of UTF-16."""
    values: list[Any] = [
        [0, -0.0, 1, -1, 0.1, 1e21, 1e-7, 1.5e300, 333333333.33333329, 2**53 - 1, 4.50, 2e-3, 1e-27],
        {
            "\u20ac": 1,
            "\r": 2,
            "\ufb33": 3,
            "1": 4,
            "\U0001f600": 5,
            "\u0080": 6,
            "\u00f6": 7,
            "": 8,
            "10": 9,
            "__proto__": 0,
        },
        ['\u0000\u001f\b\t\n\f\r"\\/\u007f\u2028\u2029', *NAMES],
        {"a": [{}, [], {"b": [None, True, False]}]},
        None,
    ]
    written = await page.evaluate(
        'async texts => { const {canonical} = await import("/console/digest.js");'
        "return texts.map(text => canonical(JSON.parse(text))) }",
        [json.dumps(value) for value in values],
    )
    assert written == [rfc8785.dumps(value).decode() for value in values]


_HEADS = """
async ({tenant, texts, keys}) => {
  const {NoHead, verify} = await import("/console/heads.js");
  const read = [];
  for (const text of texts) {
    try {
      read.push(await verify(text, tenant, keys));
    } catch (error) {
      if (!(error instanceof NoHead)) throw error;
      read.push(null);
    }
  }
  return read;
}
"""


async def test_signed_heads(page: Page, api: Api, tenant: str) -> None:
    """The service's is proven by its key; with one bit or one word of it changed it is not, as the verifier has it."""
    await api.register()
    told = (await api.get("/admin/audit/head")).data
    keys = (await api.get("/.well-known/jwks.json")).body["keys"]
    header, claims, signature = told["head"].split(".")
    forged = [
        told["head"],
        f"{_with(header, alg='none')}.{claims}.",
        f"{_with(header, typ='JWT')}.{claims}.{signature}",
        f"{_with(header, kid='other')}.{claims}.{signature}",
        f"{header}.{_with(claims, position=7)}.{signature}",
        f"{header}.{_with(claims, tenant_id='other')}.{signature}",
        f"{header}.{_with(claims, digest='0' * 64)}.{signature}",
        f"{header}.{claims}.{signature[:-4]}AAAA",
        f"{header}.{claims}",
        "",
        "a.b.c",
    ]

    read = await page.evaluate(_HEADS, {"tenant": tenant, "texts": forged, "keys": keys})

    assert [one is not None for one in read] == [True] + [False] * (len(forged) - 1)
    assert (read[0]["position"], read[0]["digest"]) == (told["position"], told["digest"])
    known = [PublicKey(key) for key in keys]
    for text in forged[1:]:
        with pytest.raises(heads.NoHead):
            heads.read(text, known, source="-")
    assert heads.read(forged[0], known, source="-")[1].position == told["position"]
    others = await page.evaluate(_HEADS, {"tenant": "other", "texts": forged[:1], "keys": keys})
    assert others == [None]


def _with(part: str, **changes: Any) -> str:
    """A part of a JWS that says something else."""
    known = json.loads(base64.urlsafe_b64decode(part + "=="))
    return base64.urlsafe_b64encode(json.dumps({**known, **changes}).encode()).rstrip(b"=").decode()
