"""The languages that answers speak to people."""

import ast
import re
from pathlib import Path
from uuid import uuid4

import pytest

from service import languages
from service.languages import negotiated
from service.refusals import MESSAGES
from tests.callers import EXAMPLE, Api

CLIENTS = "/admin/oauth/clients/"
NOBODYS = f"{CLIENTS}app-00000000000000000000000000"
SERVICE = Path(languages.__file__).parent


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("en", "en"),
        ("*", "en"),
        ("fr", "en"),
        ("zh", "zh"),
        ("ZH", "zh"),
        ("zh-CN", "zh"),
        ("zh-Hans", "zh"),
        ("zh-Hans-CN", "zh"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("zh;q=0.9,en;q=0.8", "zh"),
        ("zh;q=0.8,en;q=0.9", "en"),
        ("en-US,en;q=0.9,zh-CN;q=0.8", "en"),
        ("en;q=0.8, zh;q=0.9", "zh"),
        ("en;q=0.80 , zh ; Q=0.801", "zh"),
        ("en,zh", "en"),
        ("zh,en", "zh"),
        ("en;q=0.5,zh;q=0.5", "en"),
        ("fr,zh;q=0.1", "zh"),
        ("fr;q=0.9,en;q=0.2,zh;q=0.1", "en"),
        ("zh;q=0", "en"),
        ("zh;q=0,*", "en"),
        ("zh;q=0.000,en;q=0", "en"),
        ("en;q=0,*", "zh"),
        ("*,en;q=0.5", "zh"),
        ("*;q=0.5,zh", "zh"),
        ("*;q=0.5,en", "en"),
        ("zh-TW;q=0.1,zh-CN;q=0.9,en;q=0.5", "zh"),
        ("zhx", "en"),
        ("zh_CN", "en"),
        ("zh;q=2", "en"),
        ("zh;q=-1", "en"),
        ("zh;q=0.1234", "en"),
        ("zh;q=nan", "en"),
        ("zh;q=", "en"),
        ("zh;level=1", "en"),
        ("zh-,en", "en"),
        (",,zh,,", "zh"),
        ("中文", "en"),
        ("zh;q=0.५", "en"),
        (";" * 4000 + ",zh", "zh"),
    ],
)
def test_negotiation(accepted: str, language: str) -> None:
    """The more welcome language is spoken, of two alike the first; English where none is welcome."""
    assert negotiated(accepted) == language


def test_every_failure_is_translated() -> None:
    """Each failure has a Chinese message, and there is none for what is no failure."""
    assert set(languages.FAILURES) == set(MESSAGES)
    assert all(re.search(r"[\u4e00-\u9fff]", message) for message in languages.FAILURES.values())


def test_every_success_is_translated() -> None:
    """Each message that some handler gives its answer has a Chinese one."""
    calls = [
        node
        for path in SERVICE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"answer", "Listing"}
    ]
    messages = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "message"]

    said = {message.value for message in messages if isinstance(message, ast.Constant)}

    assert said | {"OK"} == set(languages.SUCCESSES)


async def test_fixed_wordings(api: Api, tenant: str) -> None:
    """Three failures are worded as the contract's owner wants them; their codes are those that they have in English."""
    nobody, auditor = api.with_headers(Authorization=""), api.as_role("auditor", tenant)
    broken = api.with_headers(Authorization="Bearer x.y.z")
    for caller, path, code, message in (
        (nobody, f"{NOBODYS}/clone", 401001, "未认证:请提供有效的 Bearer Token"),
        (broken, f"{NOBODYS}/clone", 401002, "未认证:请提供有效的 Bearer Token"),
        (auditor, f"{NOBODYS}/clone", 403001, "权限不足:需要管理员权限"),
        (api, f"{NOBODYS}/clone", 404001, "客户端不存在或不属于当前租户"),
    ):
        chinese = await caller.post(path, headers={"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"})
        english = await caller.post(path, headers={"Accept-Language": "en"})

        assert (chinese.status, chinese.body["code"], chinese.body["message"]) == (code // 1000, code, message)
        assert (english.status, english.body["code"], english.body["message"]) == (code // 1000, code, MESSAGES[code])


async def test_what_the_answer_says_of_itself(api: Api) -> None:
    """An answer names its language, and that the request had a say in it, so that caches keep the two apart."""
    for path in (CLIENTS, "/nope", "/healthz", f"{CLIENTS}MALFORMED"):
        for accepted, language in (("zh", "zh"), ("en;q=0.1", "en"), (None, "en")):
            reply = await api.get(path, headers={"Accept-Language": accepted} if accepted else {})
            assert reply.headers["Content-Language"] == language
            assert reply.headers["Vary"] == "Accept-Language"
            assert reply.headers["Content-Type"] == "application/json"
            assert (re.search(r"[\u4e00-\u9fff]", reply.body["message"]) is not None) is (language == "zh")


async def test_all_else_stays(api: Api) -> None:
    """Only the message is translated: data, order, violations and headers are as ever."""
    fields = {**EXAMPLE, "name": '名称 \\ " / é \U0001f4a5'}

    created = await api.post(CLIENTS, json=fields, headers={"Accept-Language": "zh"})

    assert created.status == 201
    assert list(created.body) == ["code", "message", "timestamp", "data"]
    assert (created.body["code"], created.body["message"]) == (0, "客户端注册成功")
    assert created.headers["Cache-Control"] == "no-store"
    url = CLIENTS + created.data["client_id"]
    chinese, english = await api.get(url, headers={"Accept-Language": "zh"}), await api.get(url)
    assert chinese.body["message"] == "成功"
    assert chinese.data == english.data
    assert chinese.data["name"] == fields["name"]

    refused = await api.post(CLIENTS, json={"bogus": 1}, headers={"Accept-Language": "zh"})
    reference = await api.post(CLIENTS, json={"bogus": 1})
    assert refused.body["violations"] == reference.body["violations"]
    assert refused.body["message"] == languages.FAILURES[400003]


async def test_two_headers(api: Api) -> None:
    """Accept-Language may come in several lines."""
    headers = [*api.headers.items(), ("Accept-Language", "en;q=0.5"), ("Accept-Language", "zh")]
    async with api.session.get(f"{api.base}/nope", headers=headers) as response:
        assert response.headers["Content-Language"] == "zh"


async def test_what_has_no_language_to_choose(api: Api) -> None:
    """A deletion says nothing; the OpenAPI document is in English alone."""
    client = await api.register()
    deleted = await api.delete(CLIENTS + client["client_id"], headers={"Accept-Language": "zh"})
    document = await api.get("/openapi.json", headers={"Accept-Language": "zh"})

    assert (deleted.status, deleted.body) == (204, None)
    for reply in (deleted, document):
        assert {"Vary", "Content-Language"}.isdisjoint(reply.headers)


async def test_a_kept_answer(api: Api) -> None:
    """An answer that is sent again is in the language of whoever asks again; the rest of it is the same."""
    client = await api.register()
    key = {"Idempotency-Key": str(uuid4())}
    languages_asked = ["zh", "en", "zh"]

    replies = [
        await api.session.post(
            f"{api.base}{CLIENTS}{client['client_id']}/clone",
            headers={**api.headers, **key, "Accept-Language": language},
        )
        for language in languages_asked
    ]

    bodies = [await reply.json() for reply in replies]
    assert [reply.headers["Content-Language"] for reply in replies] == languages_asked
    assert [body["message"] for body in bodies] == ["客户端克隆成功", "The client was cloned.", "客户端克隆成功"]
    assert len({body["data"]["client_id"] for body in bodies}) == 1
