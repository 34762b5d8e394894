"""The service as a stranger finds it who has nothing but its OpenAPI document."""

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.callers import Api

CONFIG = Path(__file__).with_name("schemathesis.toml")
TENANT = {"$ref": "#/components/parameters/Tenant"}
LIMIT_S = 180


def login(name: str, api: Api) -> dict[str, object]:
    """A caller in the words of Web Fuzzing Commons."""
    return {"name": name, "fixedHeaders": [{"name": "Authorization", "value": api.headers["Authorization"]}]}


async def test_schemathesis(api: Api, tenant: str, tmp_path: Path) -> None:
    """
    Every check of schemathesis holds: examples, edges of the schemas, random requests, and sequences of them.

    X-Tenant-ID is left to test_routes: any value but the own tenant ends in 403, and a request would go no deeper.
    """
    document = (await api.get("/openapi.json")).body
    for operation in (operation for methods in document["paths"].values() for operation in methods.values()):
        operation["parameters"] = [parameter for parameter in operation["parameters"] if parameter != TENANT]
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    callers = [login("ours", api), login("theirs", api.as_role("admin", f"{tenant}-other"))]
    service = api.as_role("service", tenant).headers["Authorization"].removeprefix("Bearer ")
    (tmp_path / "wfc.json").write_text(json.dumps({"auth": callers}))

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)),
        *("run", "--checks", "all", "--url", f"{api.base}/api/v1", "openapi.json"),
        cwd=tmp_path,
        env={**os.environ, "MITOSIS_WFC": str(tmp_path / "wfc.json"), "MITOSIS_SERVICE": service, "NO_COLOR": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert process.returncode == 0, output.decode(errors="replace")
    # it got as far as what it is there for: clients, and clones of them
    clients = (await api.get("/admin/oauth/clients/", params={"page_size": "100"})).body["items"]
    assert any("cloned_from" in client for client in clients)
