#!/usr/bin/env python3
"""Check a log by log-format.md: the vectors beside this file, or the .json like them or the .ndjson that is named."""

import json
import sys
from hashlib import sha256
from pathlib import Path

import rfc8785

path = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_name("log-format-vectors.json")
lines = [line for line in path.read_text("utf-8").split("\n") if line and path.suffix == ".ndjson"]
log = [{"body": line.partition('"data":')[2][:-1], **json.loads(line)} for line in lines]
given = {"tenant_id": log[0]["data"]["tenant_id"], "log": log, "heads": []} if log else json.loads(path.read_bytes())
chain = [sha256(b"mitosis/v1/" + given["tenant_id"].encode()).digest()]
for position, entry in enumerate(given["log"], 1):
    chain.append(sha256(chain[-1] + entry["body"].encode()).digest())
    if chain[-1].hex() != entry["digest"]:
        sys.exit(f"position {position}: the digest does not follow")
    record, private = json.loads(entry["body"]), entry.get("private")
    if rfc8785.dumps(record).decode() != entry["body"]:
        sys.exit(f"position {position}: the body is not canonical")
    if (record["tenant_id"], record["position"]) != (given["tenant_id"], position):
        sys.exit(f"position {position}: the body says another place")
    if private is not None and sha256(private.encode()).hexdigest() != record["sealed"]:
        sys.exit(f"position {position}: the private part is not the sealed one")
for head in [{"position": 0, "digest": given.get("genesis", chain[0].hex())}, *given["heads"]]:
    if [bytes.fromhex(head["digest"])] != chain[head["position"] :][:1]:
        sys.exit(f"position {head['position']}: the log does not pass through this head")
sys.stdout.write(f"{len(chain) - 1} records and {len(given['heads'])} heads are sound; the last is {chain[-1].hex()}\n")
