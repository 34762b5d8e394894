"""`mitosis tenant export` and `import`: a tenant as a file, and back again as it was."""

import asyncio
import json
import os
import signal
import stat
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, Self

import asyncpg
import msgspec
import pytest
from aiohttp import ClientSession
from pyrage import x25519

from events import log
from events.client import SecretsErased
from projections.gathering import Gathering
from service.archive import exporting, importing
from service.archive.compression import compressing
from service.audit.heads import HeadSigner
from service.config import Config
from service.database import CONSUMER_ROLE, MOVER_ROLE
from service.embedded import Embedded
from service.signing import load_key
from tests.archives import Archives, archived, everything, lines, packed
from tests.callers import Api
from tests.commands import Mitosis
from tests.damage import written
from tests.laws import check
from tests.leaks import HASH, WITNESS
from tests.movers import Side, side
from tests.planting import plant, tampered
from tests.processes import MAIN
from tests.test_authenticate import authenticate, post, secret_client
from tests.waiting import until

CLIENTS = "/admin/oauth/clients/"
PASSPHRASE = "correct horse battery staple"


@pytest.fixture(scope="module")
async def source(postgres: Embedded, binaries: Path | None, config: Config) -> AsyncIterator[Side]:
    async with side(postgres, binaries, config) as made:
        yield made


@pytest.fixture(scope="module")
async def target(postgres: Embedded, binaries: Path | None, config: Config) -> AsyncIterator[Side]:
    async with side(postgres, binaries, config) as made:
        yield made


@pytest.fixture
def archives(mitosis: Mitosis, source: Side, target: Side, tmp_path: Path, tenant: str) -> Archives:
    """A tenant that never was, at either side."""
    return Archives(mitosis, source, target, tmp_path, tenant)


@pytest.fixture
async def here(source: Side, tenant: str) -> AsyncIterator[Api]:
    """The service at the source."""
    async with ClientSession() as session:
        yield source.api(session, tenant)


@pytest.fixture
async def lived(archives: Archives, here: Api, mitosis: Mitosis) -> Any:
    """What happened: clients came, changed, rotated and went; one was erased; the tenant froze and thawed. A client."""
    client = await secret_client(here)
    await here.clone(client["client_id"])
    await here.put(CLIENTS + client["client_id"], json={"name": 'renamed é "\\ 漢字'})
    gone = await here.register()
    await here.post(f"{CLIENTS}{gone['client_id']}/rotate-secret")
    await here.delete(CLIENTS + gone["client_id"])
    url = {"MITOSIS_DATABASE_URL": archives.source.url}
    assert (await mitosis("clients", "erase-sealed", "--tenant", archives.tenant, **url)).status == 0
    for act in ("freeze", "thaw"):
        assert (await archives.at(archives.source, act, archives.tenant)).status == 0
    return client


# ------------------------------------------------------------------------------------------------------- there and back


async def test_there_and_back(archives: Archives, lived: Any) -> None:
    """A tenant comes back as it was, to the byte: positions, ids, times, digests, clients and their private parts."""
    before = await check(archives.source.owner, archives.tenant)

    await archives.exported(*archives.sealed)
    said = await archives.brought(*archives.opened)

    assert await check(archives.target.owner, archives.tenant) == before
    there, here = [await everything(side.owner, archives.tenant) for side in (archives.target, archives.source)]
    assert there == here
    assert there["withheld"] == []
    assert said.lines[0].startswith(f"tenant {archives.tenant}: {len(before)} records are imported behind position 0, ")
    assert len(said.lines) == 1
    verdict = await archives.verify("--tenant", archives.tenant)
    assert (verdict.status, len(verdict.lines)) == (0, 1)


async def test_secrets_that_came(archives: Archives, lived: Any) -> None:
    """With credentials, clients authenticate as before; without, their secrets are not accepted, and new ones are."""
    presented = post(lived["client_id"], lived["client_secret"])

    await archives.exported(*archives.sealed)
    await archives.brought(*archives.opened)

    async with ClientSession() as session:
        there = archives.target.api(session, archives.tenant)
        assert (await authenticate(there, archives.tenant, presented)).status == 200
        assert (await there.clone(lived["client_id"])).status == 201


async def test_secrets_that_did_not(archives: Archives, lived: Any) -> None:
    """
    Without credentials, the clients that need new secrets are named; a secret cannot be checked, and a new one can.

    Their records say that they had one, and no verification takes that for a loss.
    """
    await archives.exported()
    said = await archives.brought()

    assert f"{lived['client_id']} (renamed é " in said.lines[0]
    assert said.lines[0].endswith("needs a new secret: a secret cannot be checked here")
    assert said.lines[-1] == "2 clients need new secrets"
    async with ClientSession() as session:
        there = archives.target.api(session, archives.tenant)
        presented = post(lived["client_id"], lived["client_secret"])
        assert (await authenticate(there, archives.tenant, presented)).status == 401
        fresh = (await there.post(f"{CLIENTS}{lived['client_id']}/rotate-secret")).data["new_secret"]
        presented = post(lived["client_id"], fresh)
        assert (await authenticate(there, archives.tenant, presented)).status == 200
    verdict = await archives.verify("--tenant", archives.tenant)
    assert verdict.status == 0, verdict.out
    assert verdict.lines[1] == "  2 private parts never came: the tenant was imported without credentials"


async def test_lost_after_the_import(archives: Archives, lived: Any) -> None:
    """What did not come is known one by one: what is lost of the rest is found as ever."""
    await archives.exported(*archives.sealed)
    await archives.brought(*archives.opened)
    vanished = "update events set private = null where tenant_id = $1 and position = 1"

    async with tampered(archives.target.owner, archives.tenant, vanished):
        verdict = await archives.verify("--tenant", archives.tenant)

    assert verdict.status == 3
    assert verdict.lines[1].split()[:2] == ["removed", "1"]


async def test_as_json(archives: Archives, lived: Any) -> None:
    """Machines are told the same: an object for an export; for an import a line a client, and one for the outcome."""
    exported = json.loads((await archives.export("--json")).out)
    *needy, outcome = [json.loads(line) for line in (await archives.bring("--json")).lines]

    head = await archives.target.head(archives.tenant)
    assert exported["tenant_id"] == outcome["tenant_id"] == archives.tenant
    assert exported["records"] == outcome["imported"] == outcome["position"] == head.position
    assert exported["digest"] == outcome["digest"] == head.digest.hex()
    assert exported["bytes"] == archives.file.stat().st_size
    assert (exported["clients"], exported["credentials"], exported["is_signed"]) == (3, None, True)
    assert [one["secrets"] for one in needy] == [1, 1]
    assert (outcome["need_new_secrets"], outcome["withheld"], outcome["credentials"]) == (2, 2, 0)
    assert (outcome["state"], outcome["is_head_proven"], outcome["is_dry_run"]) == ("open", True, False)


@pytest.mark.parametrize("room", [0, 3000])
async def test_more_clients_than_there_is_room_for(
    archives: Archives, lived: Any, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """A tenant whose clients do not fit in memory is folded out of the database, to the same clients."""
    monkeypatch.setattr(importing, "Gathering", partial(Gathering, room=room))

    await archives.exported(*archives.sealed)
    await archives.brought(*archives.opened)

    await check(archives.target.owner, archives.tenant)
    there, here = [await everything(side.owner, archives.tenant) for side in (archives.target, archives.source)]
    assert there == here


# ---------------------------------------------------------------------------------------------------- what is in a file


async def test_a_file(archives: Archives, lived: Any) -> None:
    """A manifest, the records as the stream has them, and a trailer, in a file that its owner alone can read."""
    await archives.exported()

    first, *records, last = [json.loads(line) for line in lines(archives.file.read_bytes())]
    head = await archives.source.head(archives.tenant)
    assert (first["format"], first["version"], first["tenant_id"]) == ("mitosis-archive", 1, archives.tenant)
    assert (first["records"], first["clients"], "credentials" in first) == (head.position, 3, False)
    assert (first["head"]["position"], first["head"]["digest"]) == (head.position, head.digest.hex())
    assert last == {"end": "mitosis-archive", "records": head.position, "credentials": 0}
    async with ClientSession() as session:
        stream = await archives.source.api(session, archives.tenant).get("/admin/audit/stream?after=0")
    assert records == stream.body
    assert stat.S_IMODE(archives.file.stat().st_mode) == 0o600
    assert [path.name for path in archives.folder.iterdir()] == ["archive"]


async def test_no_private_part_in_clear(archives: Archives, lived: Any) -> None:
    """No private part is in a file that was not asked for them, and none in clear in one that was."""
    hashes = [row["private"] for row in (await everything(archives.source.owner, archives.tenant))["events"]]
    for options in ((), archives.sealed):
        await archives.exported(*options)

        text = b"".join(lines(archives.file.read_bytes())).decode()
        WITNESS.log("an archive", text)
        assert HASH not in text
        assert not any(private in text for private in hashes if private)


async def test_to_public_keys(archives: Archives, lived: Any) -> None:
    """Credentials are encrypted to any number of public keys, and open with the identity of each."""
    ours, theirs, strangers = (x25519.Identity.generate() for _ in range(3))
    recipients = [part for one in (ours, theirs) for part in ("--recipient", str(one.to_public()))]
    identity = archives.home / "identities"

    await archives.exported("--with-credentials", *recipients)

    identity.write_text(f"# not this one\n{strangers}\n")
    said = await archives.bring("--identity", str(identity))
    assert (said.status, said.err) == (1, "mitosis: the credentials of this archive do not open with that identity\n")
    assert "name its --identity" in (await archives.bring()).err
    assert await archives.nothing_there()
    identity.write_text(f"{strangers}\n\n{theirs}\n")
    await archives.brought("--identity", str(identity))
    assert (await everything(archives.target.owner, archives.tenant))["withheld"] == []


async def test_wrong_passphrase(archives: Archives, lived: Any) -> None:
    """Without the passphrase nothing is imported, unless it is said that the credentials are to be left out."""
    file = archives.home / "passphrase"
    file.write_text(f"{PASSPHRASE}\nand more\n")
    await archives.exported("--with-credentials", "--passphrase-file", str(file))

    for arguments, environment, why in (
        ((), {"MITOSIS_PASSPHRASE": "wrong"}, "do not open with that passphrase"),
        ((), {}, "a passphrase is needed"),
        ((), {"MITOSIS_PASSPHRASE": ""}, "the passphrase is empty"),
    ):
        said = await archives.bring(*arguments, **environment)
        assert (said.status, said.out, said.err.count("\n")) == (1, "", 1)
        assert why in said.err
    assert await archives.nothing_there()
    await archives.brought("--dry-run", MITOSIS_PASSPHRASE=PASSPHRASE)
    await archives.brought("--without-credentials")
    assert len((await everything(archives.target.owner, archives.tenant))["withheld"]) == 2


async def test_signed(archives: Archives, lived: Any, config: Config) -> None:
    """An archive says who signed its head, and one that must be signed by somebody is not taken from anybody else."""
    jwks = archives.home / "jwks.json"
    jwks.write_bytes(msgspec.json.encode(HeadSigner(load_key(config.key_file)).keys()))
    nobody = {"MITOSIS_HOME": str(archives.home / "nobody")}
    await archives.exported()

    unknown = await archives.bring("--dry-run", **nobody)
    assert unknown.lines[-1] == "its head is proven by no key that is known here; --jwks names more"
    assert (await archives.bring("--dry-run", "--jwks", str(jwks), **nobody)).status == 0
    assert (await archives.verify("--file", str(archives.file), "--jwks", str(jwks))).out.endswith("1 kept head\n")
    await archives.exported(**nobody)
    assert "no signed head" in (await archives.bring("--dry-run", "--jwks", str(jwks))).err
    other = HeadSigner(load_key(archives.home / "key.pem"))
    await archives.exported(MITOSIS_SIGNING_KEY_FILE=str(archives.home / "key.pem"))
    assert "no key that is known" in (await archives.bring("--dry-run", "--jwks", str(jwks))).err
    jwks.write_bytes(msgspec.json.encode(other.keys()))
    assert (await archives.bring("--dry-run", "--jwks", str(jwks))).status == 0


async def test_verify_an_archive(archives: Archives, lived: Any) -> None:
    """An archive is verified as a file of lines is, and holds itself to the head that its manifest says."""
    await archives.exported()
    count = len(await check(archives.source.owner, archives.tenant))

    said = await archives.verify("--file", str(archives.file))
    assert (said.status, said.out.partition(", ending")[0]) == (0, f"{archives.tenant}: whole. {count} records")

    some = lines(archives.file.read_bytes())
    for damaged, kinds in (
        (packed(some[:-2]), [["cut", "off", str(count)]]),
        (packed(some[:-1]), [["cut", "off", str(count + 1)]]),
        (packed([*some[:2], *some[3:]]), [["removed", "2"]]),
        (packed([*some[:2], some[2].replace(b'"role":"admin"', b'"role":"other"'), *some[3:]]), [["altered", "2"]]),
    ):
        archives.file.write_bytes(damaged)
        said = await archives.verify("--file", str(archives.file))
        assert said.status == 3
        assert [line.split()[: len(kind)] for line, kind in zip(said.lines[1:], kinds, strict=True)] == kinds
    archives.file.write_bytes(packed(some[1:]))
    said = await archives.verify("--file", str(archives.file))
    assert (said.status, said.err) == (1, "mitosis: this is no archive: it does not begin with a manifest\n")


# ------------------------------------------------------------------------------------------------- who is there already


async def test_again(archives: Archives, lived: Any) -> None:
    """To import an archive again changes nothing, and says once more who needs a new secret."""
    await archives.exported()
    await archives.brought()
    before = await everything(archives.target.owner, archives.tenant)

    said = await archives.brought()

    assert "are here already" in said.out
    assert "2 clients need new secrets" in said.lines
    assert await everything(archives.target.owner, archives.tenant) == before


async def test_goes_on(archives: Archives, here: Api, lived: Any) -> None:
    """A later archive of the same log brings what is new in it, and lets go of what it says was erased since."""
    await archives.exported(*archives.sealed)
    await archives.brought(*archives.opened)
    old = archives.file.read_bytes()
    await here.post(f"{CLIENTS}{lived['client_id']}/rotate-secret")
    await here.delete(CLIENTS + lived["client_id"])
    await here.register()
    url = archives.source.url
    erase = ("clients", "erase-sealed", "--tenant", archives.tenant)
    assert (await archives.mitosis(*erase, MITOSIS_DATABASE_URL=url)).status == 0

    await archives.exported(*archives.sealed)
    said = await archives.brought(*archives.opened)

    records = await check(archives.target.owner, archives.tenant)
    assert isinstance(records[-1].data, SecretsErased)
    there, ours = [await everything(side.owner, archives.tenant) for side in (archives.target, archives.source)]
    assert there == ours
    assert " 4 records are imported behind position " in said.out
    archives.file.write_bytes(old)
    said = await archives.bring(*archives.opened)
    assert (said.status, said.err) == (
        4,
        f"mitosis: nothing was imported: tenant {archives.tenant} has all the records of this archive, and 4 more\n",
    )


async def test_a_tenant_that_cannot_be(archives: Archives, lived: Any) -> None:
    """`*` is what all tenants are called together: none comes in under that name."""
    await archives.exported()
    first, *others = lines(archives.file.read_bytes())
    archives.file.write_bytes(packed([first.replace(archives.tenant.encode(), b"*"), *others]))

    said = await archives.bring()

    assert (said.status, said.err.count("\n")) == (3, 1)
    assert "a tenant whose name no tenant can have" in said.err


async def test_goes_on_unproven(archives: Archives, here: Api, lived: Any) -> None:
    """A tenant that is here is not continued by records of which no known key says that they are its own."""
    await archives.exported()
    await archives.brought()
    before = await everything(archives.target.owner, archives.tenant)
    await here.register()
    await archives.exported(MITOSIS_HOME=str(archives.home / "nobody"))

    said = await archives.bring()

    assert (said.status, said.err.count("\n")) == (1, 1)
    assert "no key that is known signed what would be added to it" in said.err
    assert await everything(archives.target.owner, archives.tenant) == before
    await archives.brought("--unproven")
    assert len(await check(archives.target.owner, archives.tenant)) == len(before["events"]) + 1


@pytest.mark.parametrize("more", [0, 3])
async def test_forked(archives: Archives, tenant: str, more: int) -> None:
    """A tenant of that name with other records is left as it is, be it shorter, as long or longer."""
    for owner, count in ((archives.source.owner, 2), (archives.target.owner, 2 + more), (archives.source.owner, more)):
        for _ in range(count):
            await plant(owner, tenant)
    before = await everything(archives.target.owner, tenant)
    for _ in range(2):
        await archives.exported()

        said = await archives.bring()

        assert said.status == 4
        assert f"there is a tenant {tenant} with other records" in said.err
        assert await everything(archives.target.owner, tenant) == before
        await plant(archives.source.owner, tenant)


async def test_damaged_here(archives: Archives, lived: Any, here: Api) -> None:
    """A log that was altered here is not continued: nobody would know any more what is whose."""
    await archives.exported()
    await archives.brought()
    await here.clone(lived["client_id"])
    await archives.exported()
    altered = "update events set body = replace(body::text, 'admin@', 'other@')::json where tenant_id = $1"

    async with tampered(archives.target.owner, archives.tenant, altered):
        said = await archives.bring()

    assert said.status == 3
    assert f"the record at position 1 of {archives.tenant} was altered here" in said.err


async def test_states(archives: Archives, lived: Any) -> None:
    """What its records say of a tenant holds: who was frozen arrives frozen. One that takes no changes gets none."""
    assert (await archives.at(archives.source, "freeze", archives.tenant)).status == 0
    await archives.exported()
    said = await archives.brought()

    assert (await archives.target.head(archives.tenant)).state == "frozen"
    assert f"until `mitosis tenant thaw {archives.tenant}`" in said.out
    assert (await archives.at(archives.source, "thaw", archives.tenant)).status == 0
    await archives.exported()
    said = await archives.bring()
    assert said.status == 4
    assert said.err.endswith(f"tenant {archives.tenant} is here, and frozen: it takes no changes\n")
    assert (await archives.at(archives.target, "thaw", archives.tenant)).status == 0


async def test_unknown_tenant(archives: Archives) -> None:
    """Nothing is no archive."""
    said = await archives.export()

    assert (said.status, said.err) == (1, f"mitosis: there is no tenant {archives.tenant}\n")
    assert list(archives.folder.iterdir()) == []


# ----------------------------------------------------------------------------------------------- whatever interrupts it


async def test_dry_run(archives: Archives, lived: Any) -> None:
    """A dry run does it all, says what would come of it, and takes it back."""
    await archives.exported()

    said = await archives.brought("--dry-run")

    assert " records would be imported behind position 0" in said.out
    assert "2 clients need new secrets" in said.lines
    assert await archives.nothing_there()


async def test_a_damaged_log_is_not_exported(archives: Archives, lived: Any) -> None:
    """An archive of a damaged log would be believed one day. What is in its place stays."""
    archives.file.write_text("the archive of yesterday")
    for statement, why in (
        ("update events set private = 'another' where tenant_id = $1 and position = 1", "private part"),
        ("update events set body = replace(body::text, 'admin@', 'other@')::json where tenant_id = $1", "position 1"),
    ):
        async with tampered(archives.source.owner, archives.tenant, statement):
            said = await archives.export(*archives.sealed)

        assert (said.status, said.out) == (3, "")
        assert why in said.err
        assert archives.file.read_text() == "the archive of yesterday"
    assert [path.name for path in archives.folder.iterdir()] == ["archive"]


class Command:
    """A command in a process of its own, which can be killed."""

    def __init__(self, side: Side, *arguments: str) -> None:
        self._side, self._arguments = side, arguments
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        assert self._process is not None
        return self._process

    async def __aenter__(self) -> Self:
        environment = {"PATH": os.defpath, "MITOSIS_DATABASE_URL": self._side.url, "MITOSIS_HOME": "/nowhere"}
        command = (sys.executable, "-c", MAIN, "tenant", *self._arguments)
        self._process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        told = (await self.process.communicate())[1]
        WITNESS.log("a command", told.decode())
        assert b"Traceback" not in told

    async def feed(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        await self.process.stdin.drain()

    async def does(self, what: str) -> None:
        """Return when its session does *what* with the database, as pg_stat_activity has it."""

        async def does() -> bool:
            return await self._sessions(what) > 0

        await until(does)

    async def gone(self) -> None:
        """Return when its session is."""

        async def gone() -> bool:
            return await self._sessions("true") == 0

        await until(gone)

    async def _sessions(self, what: str) -> int:
        mine = "application_name = $1 and datname = current_database()"
        asked = f"select count(*) from pg_stat_activity where {mine} and {what}"
        return int(await self._side.owner.fetchval(asked, f"mitosis tenant {self._arguments[0]}"))


@pytest.mark.parametrize(("sign", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
async def test_killed_amid_an_import(archives: Archives, sign: signal.Signals, status: int) -> None:
    """Whoever is killed amid an import leaves nothing, with thousands of rows on their way, and it is run again."""
    tenant = f"{archives.tenant}-{sign.name}"
    data = archived(written([0, 1, 2] * 2000, tenant))

    async with Command(archives.target, "import", "-") as command:
        await command.feed(data[: len(data) * 3 // 4])
        await command.does("state = 'idle in transaction' and query like 'COPY%'")
        command.process.send_signal(sign)
        assert command.process.stdin is not None
        command.process.stdin.close()
        assert await command.process.wait() == status
    await command.gone()

    assert not any((await everything(archives.target.owner, tenant)).values())
    archives.file.write_bytes(data)
    await archives.brought()
    assert len(await check(archives.target.owner, tenant)) == 6000


@pytest.mark.parametrize(("sign", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
async def test_killed_amid_an_export(archives: Archives, lived: Any, sign: signal.Signals, status: int) -> None:
    """There is no half file under its name, whatever ends an export, and the one that was there stays."""
    archives.file.write_text("the archive of yesterday")
    locker = await asyncpg.connect(archives.source.url)
    async with locker.transaction():
        await locker.execute("lock table events in access exclusive mode")
        async with Command(archives.source, "export", archives.tenant, "-o", str(archives.file)) as command:
            await command.does("wait_event_type = 'Lock'")
            command.process.send_signal(sign)
            assert await command.process.wait() == status
    await locker.close()

    assert archives.file.read_text() == "the archive of yesterday"
    await archives.exported()
    await archives.brought()


async def test_through_a_pipe(archives: Archives, lived: Any) -> None:
    """An archive goes through a pipe, with nothing else in it; what there is to say is said elsewhere."""
    async with Command(archives.source, "export", archives.tenant, "-o", "-", "--json") as exporting_:
        out, err = await exporting_.process.communicate()
    assert json.loads(err)["bytes"] is None

    async with Command(archives.target, "import", "-", "--json") as importing_:
        said, _ = await importing_.process.communicate(out)

    assert json.loads(said.splitlines()[-1])["imported"] == len(await check(archives.target.owner, archives.tenant))


async def test_while_others_write(archives: Archives, here: Api, lived: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is exported is one moment of the log, whatever is appended meanwhile."""
    count = len(await check(archives.source.owner, archives.tenant))
    read = log.news

    async def news(*arguments: Any, **options: Any) -> Any:
        await asyncio.to_thread(lambda: None)
        await plant(planter, archives.tenant)
        return await read(*arguments, **options)

    planter = await asyncpg.connect(archives.source.url)
    monkeypatch.setattr(exporting, "_BATCH", 3)
    monkeypatch.setattr(log, "news", news)
    session = await asyncpg.connect(archives.source.url, server_settings={"role": CONSUMER_ROLE})
    with archives.file.open("wb") as file, compressing(file) as compressed:
        export = exporting.Export(session, archives.tenant, compressed, signer=None, sealer=None)
        exported = await export.write(lambda *_: None)
    await session.close()
    await planter.close()

    assert exported.manifest.records == count
    assert len(lines(archives.file.read_bytes())) == count + 2
    assert len(await check(archives.source.owner, archives.tenant)) > count


# -------------------------------------------------------------------------------------------------------- what is asked


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("export", "x"), "required: -o/--output"),
        (("export", "x", "-o", "/nowhere/x"), "/nowhere/x cannot be written: No such file"),
        (("export", "x", "-o", "/dev/null"), "/dev/null is no file"),
        (("export", "x", "-o", "/tmp"), "/tmp is no file"),
        (("export", "x", "-o", "x", "--recipient", "age1x"), "nothing is encrypted without --with-credentials"),
        (("export", "x", "-o", "x", "--with-credentials", "--recipient", "age1x"), "'age1x' is no age public key"),
        (("export", "x", "-o", "x", "--with-credentials"), "a passphrase is needed"),
        (("import",), "required: FILE"),
        (("import", "/nowhere"), "/nowhere: No such file"),
        (("import", "setup.cfg"), "setup.cfg is no archive"),
    ],
)
async def test_what_it_needs(archives: Archives, arguments: tuple[str, ...], why: str) -> None:
    """What is missing, or cannot be had, is said in one line."""
    said = await archives.at(archives.source, *arguments)

    assert said.status in (1, 2, 3)
    assert why in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)


async def test_no_right_to_private_parts(postgres: Embedded) -> None:
    """An export without credentials is a session that cannot read them; an import is one that changes no record."""
    consumer = await asyncpg.connect(postgres.url("postgres"), server_settings={"role": CONSUMER_ROLE})
    mover = await asyncpg.connect(postgres.url("postgres"), server_settings={"role": MOVER_ROLE})
    for session, statement in (
        (consumer, "select count(private) from events"),
        (mover, "update events set private = null"),
        (mover, "delete from events"),
        (mover, "delete from clients"),
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await session.execute(statement)
    await consumer.close()
    await mover.close()
