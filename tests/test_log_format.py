"""What docs/log-format.md says is what is written: its vectors, its script, and every damage by its name."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import rfc8785

from events import chain, cloudevent
from events.client import ClientSettings, IssuedSecret, SettingsChange
from events.log import Entry, Head
from events.record import Actor, Happening, Record, decode
from events.tenant import Rewrite
from events.verification.fault import KeptHead, Kind, Verdict
from events.verification.verifier import Verification
from tests import vectors

DOCS = Path(__file__).parents[1] / "docs"
VECTORS = json.loads((DOCS / "log-format-vectors.json").read_text())
SPECIFIED = (DOCS / "log-format.md").read_text()
damages = pytest.mark.parametrize("damage", VECTORS["damaged"], ids=lambda damage: damage["done"])


def check_log(*files: Path) -> subprocess.CompletedProcess[str]:
    """Run the script that needs nothing of this project."""
    command: list[str | Path] = [sys.executable, "-I", DOCS / "check_log.py", *files]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def whole(log: list[Any]) -> list[dict[str, Any]]:
    """A log with each of its records spelled out."""
    return [VECTORS["log"][one - 1] if isinstance(one, int) else one for one in log]


def stored(shown: dict[str, Any]) -> Entry:
    """A record of the vectors as it is stored, under the id of the event that was at its position."""
    event_id = vectors.ulid(shown["position"])
    return Entry(
        VECTORS["tenant_id"], shown["position"], event_id, bytes.fromhex(shown["digest"]), shown["body"].encode()
    )


def verify(log: list[Entry], heads: list[dict[str, Any]]) -> Verdict:
    """The verdict on a log that has the first head and should pass through the others."""
    own, *kept = ((head["position"], bytes.fromhex(head["digest"])) for head in heads)
    verification = Verification(VECTORS["tenant_id"], [KeptHead(*head, "a file") for head in kept])
    for entry in log:
        verification.take(entry)
    return verification.end(Head(*own, datetime.now(UTC)))


def file(folder: Path, log: list[Entry]) -> Path:
    """A log as a file: one CloudEvent a line."""
    path = folder / "log.ndjson"
    path.write_bytes(b"".join(cloudevent.encode(entry)[1] + b"\n" for entry in log))
    return path


def test_vectors() -> None:
    """The vectors are what this project writes."""
    assert (DOCS / "log-format-vectors.json").read_text() == vectors.text()


def test_vectors_hold_every_event() -> None:
    """There is a record of each type, and one of each fault is among what is damaged."""
    types = {json.loads(record["body"])["data"]["type"] for record in VECTORS["log"]}

    assert types == {event.__struct_config__.tag for event in get_args(Happening)}
    assert {damage["kind"] for damage in VECTORS["damaged"]} == set(get_args(Kind))


def test_everything_is_specified() -> None:
    """Every member that a record can have is named, and so is every type and every fault."""
    structs = {Record, Actor, ClientSettings, SettingsChange, IssuedSecret, Rewrite, *get_args(Happening)}
    names = {field.encode_name for struct in structs for field in msgspec.structs.fields(struct)}
    types = {event.__struct_config__.tag for event in get_args(Happening)}

    assert [name for name in sorted({*names, *types, *get_args(Kind)}) if f"`{name}`" not in SPECIFIED] == []


def test_bodies() -> None:
    """A body is canonical by another implementation, and no record of this project says it otherwise."""
    for record in VECTORS["log"]:
        body = record["body"].encode()
        assert rfc8785.dumps(json.loads(body)) == body
        assert decode(body).position == record["position"]


def test_verification_of_the_vectors() -> None:
    """The log is whole, as it is stored and as a file says it; its private part is the sealed one."""
    log = [stored(record) for record in VECTORS["log"]]
    sealed = log[1]._replace(private=VECTORS["log"][1]["private"])

    assert verify(log, VECTORS["heads"]).is_whole
    assert verify([log[0], sealed, *log[2:]], VECTORS["heads"]).is_whole
    assert verify([cloudevent.decode(cloudevent.encode(entry)[1]) for entry in log], VECTORS["heads"]).is_whole
    assert chain.seal(VECTORS["log"][1]["private"]) == log[1].record.sealed


@damages
def test_verification_of_damage(damage: dict[str, Any]) -> None:
    """What was done to a log is called by its name, and found where it was done."""
    verdict = verify([stored(record) for record in whole(damage["log"])], damage["heads"])

    assert [(fault.kind, fault.position) for fault in verdict.faults] == [(damage["kind"], damage["position"])]


def test_script() -> None:
    """The script finds the vectors sound."""
    run = check_log()

    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("17 records and 3 heads are sound")


@damages
def test_script_on_damage(damage: dict[str, Any], tmp_path: Path) -> None:
    """It refuses what is damaged, and says where it noticed, which is not before the place."""
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps({**VECTORS, "log": whole(damage["log"]), "heads": damage["heads"]}))

    run = check_log(path)

    assert (run.returncode, run.stdout) == (1, "")
    noticed = int(run.stderr.partition(":")[0].removeprefix("position "))
    assert damage["position"] <= noticed


def test_script_on_a_file(tmp_path: Path) -> None:
    """It checks a file too, and one that was altered it refuses with the position."""
    log = [stored(record) for record in VECTORS["log"]]

    assert check_log(file(tmp_path, log)).stdout.endswith(f"{VECTORS['heads'][0]['digest']}\n")
    run = check_log(file(tmp_path, [*log[:4], log[5], log[4], *log[6:]]))
    assert (run.returncode, run.stderr) == (1, "position 5: the digest does not follow\n")


def test_line() -> None:
    """A line of a file has the members that are specified, in their order, and the body byte for byte."""
    line, record = VECTORS["line"], VECTORS["log"][0]
    said = json.loads(record["body"])

    assert line.endswith(f'"data":{record["body"]}}}')
    assert list(json.loads(line).items()) == [
        ("specversion", "1.0"),
        ("id", said["event_id"]),
        ("source", "/tenants/acme%2Feu"),
        ("type", said["data"]["type"]),
        ("subject", said["client_id"]),
        ("time", said["time"]),
        ("datacontenttype", "application/json"),
        ("digest", record["digest"]),
        ("data", said),
    ]


def test_script_is_short() -> None:
    """The format is plain enough for 30 lines."""
    assert len((DOCS / "check_log.py").read_text().splitlines()) <= 30
