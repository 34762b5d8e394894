"""
The languages that answers speak to people: English, and Chinese to those who prefer it (RFC 9110 section 12.5.4).

Only the envelope's `message` is translated. Codes are the same in every language, and violations are in English.
"""

import re
from collections.abc import Mapping

import msgspec
from aiohttp import web

HEADERS = {"Content-Language": "en", "Vary": "Accept-Language"}

_CHINESE = "zh"
_LANGUAGES = frozenset({"en", _CHINESE})

# RFC 4647 section 2.1 and RFC 9110 section 12.4.2
_preference = re.compile(
    r"(?P<language>[a-z]{1,8}|\*)(?:-[a-z0-9]{1,8})*\s*(?:;\s*q=(?P<quality>0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?",
    re.IGNORECASE | re.ASCII,
)

FAILURES: Mapping[int, str] = {
    400001: "请求体不是 JSON 对象",
    400002: "客户端 ID 格式错误:应为 'app-' 加最多 60 个 a-z、0-9 或 '-' 字符",
    400003: "请求不符合 'violations' 中列出的规则",
    400004: "X-Tenant-ID 格式错误:应为 1 到 128 个可打印 ASCII 字符,不含空格",
    400005: "请求不是有效的 HTTP",
    400006: "该客户端的认证方式均不使用密钥",
    400007: "不能删除客户端的最后一个密钥,请轮换密钥或删除客户端",
    400008: 'If-Match 格式错误:应为 * 或版本的实体标签,例如 "3"',
    400009: "Idempotency-Key 格式错误:应为 22 到 255 个可打印 ASCII 字符,例如 UUID,可加引号",
    400010: "租户数量超过单个游标的容量,请逐个租户订阅或使用消费者",
    401001: "未认证:请提供有效的 Bearer Token",
    401002: "未认证:请提供有效的 Bearer Token",
    401003: "客户端认证失败",
    403001: "权限不足:需要管理员权限",
    403002: "权限不足:令牌不属于 X-Tenant-ID 指定的租户",
    404001: "客户端不存在或不属于当前租户",
    404002: "请求的路径不存在",
    404003: "该客户端没有此密钥",
    405001: "该路径不支持此请求方法",
    408001: "请求体未在规定时间内到达",
    409001: "已存在使用此 ID 的客户端",
    409002: "该客户端已有两个有效密钥,请先停用或删除其中一个",
    409003: "使用此 Idempotency-Key 的请求正在处理,请稍后重试",
    409004: "日志在续读位置之前已结束:日志被截断,或不是同一份日志",
    412001: "客户端在 If-Match 指定的版本之后已被修改",
    413001: "请求体超过 64 KiB",
    415001: "请求体必须以 application/json 发送,且不带 Content-Encoding",
    417001: "仅支持 100-continue 这一种 Expect",
    421001: "该租户已迁移到其他服务",
    422001: "此 Idempotency-Key 已用于另一个请求",
    429001: "当前正在生成或校验的凭据过多,请稍后重试",
    429002: "当前正在校验其他日志,请稍后重试",
    500001: "服务器内部错误",
    503001: "数据库不可用,未做任何更改,请稍后重试",
    503002: "保存更改时数据库连接中断,重试前请先确认更改是否已生效",
    503003: "当前等待处理的更改过多,请稍后重试",
    503004: "暂时无法获取令牌签发方的密钥,请稍后重试",
    503005: "当前订阅记录的读取者过多,请稍后重试",
    503006: "该租户暂不接受更改,请稍后重试",
}

SUCCESSES: Mapping[str, str] = {
    "OK": "成功",
    "Nothing was created.": "未创建任何内容",
    "The client was authenticated.": "客户端认证成功",
    "The client was cloned.": "客户端克隆成功",
    "The client was registered.": "客户端注册成功",
    "The client was updated.": "客户端更新成功",
    "The secret was added.": "密钥添加成功",
    "The secret was deactivated.": "密钥已停用",
    "The secret was rotated.": "密钥轮换成功",
}


def negotiated(accepted: str) -> str:
    """
    The language to answer in, of what Accept-Language says: `zh` or, where nothing else is asked for, `en`.

    Every kind of Chinese is answered in the one there is (RFC 4647 section 3.4). Of two languages that are as welcome
    as each other, the one that is named first is meant.
    """
    qualities: dict[str, float] = {}
    for text in accepted.split(","):
        if preference := _preference.fullmatch(text.strip()):
            language, quality = preference["language"].lower(), float(preference["quality"] or 1)
            qualities[language] = max(quality, qualities.get(language, 0))
    anything = qualities.pop("*", 0)
    for language in ("en", _CHINESE):
        qualities.setdefault(language, anything)
    welcome = [language for language, quality in qualities.items() if quality > 0 and language in _LANGUAGES]
    return max(welcome, key=qualities.__getitem__, default="en")


def translate(response: web.StreamResponse, language: str) -> None:
    """Put the message of *response* in *language*, where it has one: in the envelope, a kept one included."""
    if language != _CHINESE or not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return
    if "Content-Language" not in response.headers:
        return
    # all but the message stays as it is, to the letter
    members = msgspec.json.decode(response.body, type=dict[str, msgspec.Raw])
    code = msgspec.json.decode(members["code"], type=int)
    message = msgspec.json.decode(members["message"], type=str)
    translated = FAILURES[code] if code else SUCCESSES.get(message)
    if translated is not None:
        members["message"] = msgspec.Raw(msgspec.json.encode(translated))
        response.body = msgspec.json.encode(members)
        response.headers["Content-Language"] = _CHINESE
