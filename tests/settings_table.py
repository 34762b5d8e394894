"""
Settings that must be refused and settings that must be accepted, as changes to one valid client.

Values are what a request body would hold, with tuples for arrays. A few hold lone surrogates, which no body can carry.
"""

import json
from typing import Any, NamedTuple

import msgspec

from events.client import ClientSettings

Changes = dict[str, Any]

BASE = ClientSettings(
    name="My Application",
    redirect_uris=("https://app.example.com/callback",),
    scopes=("openid", "profile"),
    grant_types=("authorization_code", "refresh_token"),
    client_auth_methods=("client_secret_basic",),
    cors_origins=("https://app.example.com",),
    is_confidential=True,
)

CONTRACT_EXAMPLE = ClientSettings(
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


class Bad(NamedTuple):
    """A change to BASE that breaks one rule: where the answer must point, and part of the rule it must cite."""

    law: str
    changes: Changes
    field: str
    reference: str


class Good(NamedTuple):
    """A change to BASE that breaks none."""

    law: str
    changes: Changes


def changed(changes: Changes) -> ClientSettings:
    """BASE with *changes*."""
    return msgspec.structs.replace(BASE, **changes)


RSA_MODULUS = (
    "olnAsYLYsIlhGw6KCeKPGhlDxplPSIrgUKFQz17OCvkPrdSWjI5I4Y9FvtwRAfqdbzGjrRAmssbJePTpTDAnJXsY-t-Q1QJKPUPWyqo_K-ziKPHQ"
    "MDuIGwgFzo0P9YgTrYOqZOztSdMLSFLoqvKRY1IOkU0AslIaLTjh-ssPhAhLngXb-XM-IyrbaYx9p_OoabN87PHmUk0VxPegOKMXEFINngsdjnkL"
    "2Pi0m5VpYjT0x6uq_jWfz20vcXnrRGyecClboDfqa90GDWCEZPxbGKngOpZ990OxQfqNd622xUhVVWjrtL1clHPsiUMC6KgwJOIPli5GqY83drrA"
    "TSoH1Q"
)
WEAK_MODULUS = (
    "pz9p5kN0r-asxSStzh2d24WYJ5qRKkGO1OlEnc7ISKa3uedW70AHrRsBHL5o3hFrntzPp1iyoGZJLlPIZ0_ZM4YwsBsGrjd4FD9YsL7MckM7SZIq"
    "VshYyeEmzSp7JGLYbM8PdBJV2j1Sy6jKGJCqCkvTleGnwqLeEA5_YYl_uPc"
)
RSA = {"kty": "RSA", "n": RSA_MODULUS, "e": "AQAB"}
EC = {
    "kty": "EC",
    "crv": "P-256",
    "x": "X9FN7Q2cm2s29nQzo4e_V8dBs-nZmisY-P4FXx9VYp0",
    "y": "LoQQBrJV3dwrbOnwzltlMOpjVn58J2BZqp-SLx_j72U",
}
EC_384 = {
    "kty": "EC",
    "crv": "P-384",
    "x": "HA9hZbYa2VbMQF5ZzQwmcn_1L7xpRO3PxEFP_HR8nLcUjbdPAceP7mZ5qstmWjox",
    "y": "67VsC1T1PQy9VOVJ8poBLTt62wFpQf8tVg5qYLk_18jQg0n77yMbnvGzKzEQ3OMB",
}
EC_521 = {
    "kty": "EC",
    "crv": "P-521",
    "x": "AT9yExjBtOQuWWOgNYllj5CbK6YB-kttsk2JfJCPkyjtPXxXp-v60evsVioklKFsP4zebsjonKXYcnjczxMNIhAg",
    "y": "ACH5o7E5T2eML_O0fllUp0-M_N5JcDMNf3baEAU1qZrMUl3r7pqZmqMZSNO9sVPMUbwGtgB2aD-Rn2orKs5HnYDf",
}
EC_256K = {
    "kty": "EC",
    "crv": "secp256k1",
    "x": "WFjqjmFhRqINpGWaRq54dX5Tlt2aURQs2hSUmfdCj1I",
    "y": "3i9E2njYsTXMtHn6Q5DmAAsB_HJU3K-AgcLXl2EKnko",
}
OKP = {"kty": "OKP", "crv": "Ed25519", "x": "mBk5BJAZxhEZYewcUFXJCPlUM9gmjjPTRZPIgdgVP_w"}
OKP_448 = {
    "kty": "OKP",
    "crv": "Ed448",
    "x": "u5xP7vczo-32Lru_SpOtCP-44XA7zj7-R2TEbSOUJt7laaW76nCP898SnMz4dOveYYW14FODNGeA",
}


def nested(levels: int) -> object:
    """Arrays in each other."""
    value: object = []
    for _ in range(levels - 1):
        value = [value]
    return value


def key_set(*keys: object, **members: object) -> str:
    """The text of a JWK Set of *keys*."""
    return json.dumps({"keys": keys, **members})


# ----------------------------------------------------------------------------------------------------------- refused

BAD_NAMES = {
    "empty": ("", "contract: name"),
    "only spaces": ("   ", "contract: name"),
    "only no-break spaces": ("\u00a0\u2003", "contract: name"),
    "only zero-width characters": ("\u200b\ufeff", "contract: name"),
    "256 characters": ("n" * 256, "contract: name"),
    "newline": ("My\nApplication", "contract: name"),
    "NUL": ("My\x00Application", "contract: name"),
    "escape": ("My\x1b[31mApplication", "contract: name"),
    "delete": ("My\x7fApplication", "contract: name"),
    "C1 control": ("My\x85Application", "contract: name"),
    "line separator": ("My\u2028Application", "contract: name"),
    "right-to-left override": ("My\u202eApplication", "contract: name"),
    "bidi embedding": ("My\u202aApplication", "contract: name"),
    "bidi isolate": ("My\u2066Application\u2069", "contract: name"),
    "lone surrogate": ("My\ud800Application", "RFC 3629"),
}

BAD_REDIRECTS = {
    "empty string": ("", "RFC 6749 3.1.2"),
    "relative path": ("/callback", "RFC 6749 3.1.2"),
    "scheme-relative": ("//app.example.com/callback", "RFC 6749 3.1.2"),
    "host without scheme": ("app.example.com/callback", "RFC 6749 3.1.2"),
    "host and port without scheme": ("app.example.com:8443/callback", "RFC 8252 7.1"),
    "localhost and port without scheme": ("localhost:8080/callback", "RFC 8252 7.1"),
    "scheme that begins with a digit": ("1com.example:/callback", "RFC 6749 3.1.2"),
    "fragment": ("https://app.example.com/callback#top", "RFC 6749 3.1.2"),
    "empty fragment": ("https://app.example.com/callback#", "RFC 6749 3.1.2"),
    "fragment on a private-use scheme": ("com.example.app:/callback#x", "RFC 6749 3.1.2"),
    "port without a host on a private-use scheme": ("com.example.app://:/callback", "RFC 3986 3.2.2"),
    "port too large on a private-use scheme": ("com.example.app://a:65536/callback", "RFC 3986 3.2.2"),
    "port of 5,000 digits on a private-use scheme": (f"com.example.app://a:{'9' * 5000}/callback", "RFC 3986 3.2.2"),
    "plain http": ("http://app.example.com/callback", "RFC 8252 7.3"),
    "plain http in capitals": ("HTTP://app.example.com/callback", "RFC 8252 7.3"),
    "http to a private address": ("http://192.168.1.10/callback", "RFC 8252 7.3"),
    "http to the unspecified address": ("http://0.0.0.0/callback", "RFC 8252 7.3"),
    "http to a host named like localhost": ("http://localhost.evil.example/callback", "RFC 8252 7.3"),
    "http to a subdomain of localhost": ("http://app.localhost/callback", "RFC 8252 7.3"),
    "http to localhost with the root's dot": ("http://localhost./callback", "RFC 8252 7.3"),
    "http to a host that begins like loopback": ("http://127.0.0.1.evil.example/callback", "RFC 8252 7.3"),
    "http to loopback as user info": ("http://127.0.0.1@evil.example/callback", "RFC 3986 3.2.1"),
    "http to localhost as user info": ("http://localhost:80@evil.example/callback", "RFC 8252 7.3"),
    "http to hexadecimal loopback": ("http://0x7f.1/callback", "WHATWG URL 3.5"),
    "http to decimal loopback": ("http://2130706433/callback", "WHATWG URL 3.5"),
    "http to octal loopback": ("http://0177.0.0.1/callback", "WHATWG URL 3.5"),
    "http to short loopback": ("http://127.1/callback", "WHATWG URL 3.5"),
    "http to loopback with the root's dot": ("http://127.0.0.1./callback", "WHATWG URL 3.5"),
    "http to mapped loopback": ("http://[::ffff:127.0.0.1]/callback", "RFC 8252 7.3"),
    "http to mapped loopback in hexadecimal": ("http://[::ffff:7f00:1]/callback", "RFC 8252 7.3"),
    "http to long loopback": ("http://[0:0:0:0:0:0:0:1]/callback", "WHATWG URL 3.5"),
    "http to loopback with a zone": ("http://[::1%25lo]/callback", "WHATWG URL 4.4"),
    "http to unspecified IPv6": ("http://[::]/callback", "RFC 8252 7.3"),
    "javascript": ("javascript:alert(1)", "RFC 9700 4.1"),
    "javascript in odd case": ("JaVaScRiPt:alert(1)", "RFC 9700 4.1"),
    "javascript as a hierarchy": ("javascript://app.example.com/%0aalert(1)", "RFC 9700 4.1"),
    "javascript behind a space": (" javascript:alert(1)", "RFC 3986 2"),
    "javascript behind a control": ("\x01javascript:alert(1)", "RFC 3986 2"),
    "javascript cut by a tab": ("java\tscript:alert(1)", "RFC 3986 2"),
    "javascript cut by a newline": ("javascript\n:alert(1)", "RFC 3986 2"),
    "data": ("data:text/html,x", "RFC 9700 4.1"),
    "data in capitals": ("DATA:text/html,x", "RFC 9700 4.1"),
    "vbscript": ("vbscript:msgbox", "RFC 9700 4.1"),
    "file": ("file:///etc/passwd", "RFC 9700 4.1"),
    "blob": ("blob:https://app.example.com/1", "RFC 9700 4.1"),
    "about": ("about:blank", "RFC 9700 4.1"),
    "private-use scheme without a dot": ("myapp:/callback", "RFC 8252 7.1"),
    "private-use scheme with an empty label": ("com..example:/callback", "RFC 8252 7.1"),
    "private-use scheme that ends in a dot": ("com.example.:/callback", "RFC 8252 7.1"),
    "private-use scheme without a path": ("com.example.app:", "RFC 8252 7.1"),
    "ftp": ("ftp://app.example.com/callback", "RFC 8252 7.1"),
    "websocket": ("wss://app.example.com/callback", "RFC 8252 7.1"),
    "mailto": ("mailto:someone@example.com", "RFC 8252 7.1"),
    "out of band": ("urn:ietf:wg:oauth:2.0:oob", "RFC 8252 7.1"),
    "intent": ("intent://callback", "RFC 8252 7.1"),
    "wildcard host": ("https://*.example.com/callback", "RFC 6749 3.1.2.3"),
    "wildcard inside a label": ("https://app-*.example.com/callback", "RFC 6749 3.1.2.3"),
    "wildcard path": ("https://app.example.com/*", "RFC 6749 3.1.2.3"),
    "wildcard query": ("https://app.example.com/callback?next=*", "RFC 6749 3.1.2.3"),
    "wildcard port": ("https://app.example.com:*/callback", "RFC 6749 3.1.2.3"),
    "wildcard alone": ("*", "RFC 6749 3.1.2.3"),
    "wildcard on a private-use scheme": ("com.example.app://*/callback", "RFC 6749 3.1.2.3"),
    "user": ("https://user@app.example.com/callback", "RFC 3986 3.2.1"),
    "user and password": ("https://user:password@app.example.com/callback", "RFC 3986 3.2.1"),
    "empty user info": ("https://@app.example.com/callback", "RFC 3986 3.2.1"),
    "user info that looks like a host": ("https://app.example.com@evil.example/callback", "RFC 3986 3.2.1"),
    "user on a private-use scheme": ("com.example.app://user@host/callback", "RFC 3986 3.2.1"),
    "parent segment": ("https://app.example.com/callback/../admin", "RFC 3986 6.2.2.3"),
    "parent segment at the end": ("https://app.example.com/callback/..", "RFC 3986 6.2.2.3"),
    "current segment": ("https://app.example.com/./callback", "RFC 3986 6.2.2.3"),
    "encoded parent segment": ("https://app.example.com/callback/%2e%2E/admin", "RFC 3986 6.2.2.3"),
    "half-encoded parent segment": ("https://app.example.com/callback/.%2e/admin", "RFC 3986 6.2.2.3"),
    "parent segment with an encoded slash": ("https://app.example.com/callback/..%2fadmin", "RFC 3986 6.2.2.3"),
    "parent segment with an encoded backslash": ("https://app.example.com/callback%5C..%5Cadmin", "RFC 3986 6.2.2.3"),
    "parent segment on a private-use scheme": ("com.example.app:/callback/../admin", "RFC 3986 6.2.2.3"),
    "NUL": ("https://app.example.com/call\x00back", "RFC 3986 2"),
    "tab": ("https://app.example.com/call\tback", "RFC 3986 2"),
    "line feed at the end": ("https://app.example.com/callback\n", "RFC 3986 2"),
    "carriage return": ("https://app.example.com/\r\nSet-Cookie:x=1", "RFC 3986 2"),
    "delete": ("https://app.example.com/\x7f", "RFC 3986 2"),
    "encoded line feed": ("https://app.example.com/callback%0d%0aSet-Cookie:x=1", "RFC 3986 2.1"),
    "encoded NUL": ("https://app.example.com/callback%00", "RFC 3986 2.1"),
    "leading space": (" https://app.example.com/callback", "RFC 3986 2"),
    "trailing space": ("https://app.example.com/callback ", "RFC 3986 2"),
    "inner space": ("https://app.example.com/call back", "RFC 3986 2"),
    "backslash after the host": ("https://app.example.com\\@evil.example/callback", "RFC 3986 2"),
    "backslashes for slashes": ("https:\\\\app.example.com\\callback", "RFC 3986 2"),
    "angle brackets": ("https://app.example.com/<callback>", "RFC 3986 2"),
    "double quote": ('https://app.example.com/"', "RFC 3986 2"),
    "braces": ("https://{tenant}.example.com/callback", "RFC 3986 2"),
    "letter outside ASCII": ("https://app.example.com/r\u00fcckruf", "RFC 3986 2"),
    "host outside ASCII": ("https://b\u00fccher.example/callback", "RFC 3986 2"),
    "Cyrillic homograph": ("https://\u0430pp.example.com/callback", "RFC 3986 2"),
    "full-width host": ("https://\uff41pp.example.com/callback", "RFC 3986 2"),
    "full-width full stop": ("https://app\uff0eexample.com/callback", "RFC 3986 2"),
    "soft hyphen": ("https://app\u00ad.example.com/callback", "RFC 3986 2"),
    "lone surrogate": ("https://app.example.com/\udc80", "RFC 3986 2"),
    "percent without digits": ("https://app.example.com/100%", "RFC 3986 2.1"),
    "percent with one digit": ("https://app.example.com/%a", "RFC 3986 2.1"),
    "percent with other letters": ("https://app.example.com/%zz", "RFC 3986 2.1"),
    "percent with a sign": ("https://app.example.com/%+1", "RFC 3986 2.1"),
    "encoded host": ("https://app%2eexample.com/callback", "WHATWG URL 3.5"),
    "encoded host on a private-use scheme": ("com.example.app://%68ost/callback", "RFC 3986 3.2.2"),
    "stray bracket on a private-use scheme": ("com.example.app://call]back", "RFC 3986 3.2.2"),
    "port of letters on a private-use scheme": ("com.example.app://host:port/callback", "RFC 3986 3.2.2"),
    "https without slashes": ("https:app.example.com/callback", "RFC 9110 4.2"),
    "https with one slash": ("https:/app.example.com/callback", "RFC 9110 4.2"),
    "https with three slashes": ("https:///app.example.com/callback", "RFC 9110 4.2"),
    "https with a port alone": ("https://:8443/callback", "RFC 9110 4.2"),
    "https with a query for a host": ("https://?app.example.com", "RFC 9110 4.2"),
    "port without digits": ("https://app.example.com:/callback", "RFC 3986 3.2.3"),
    "port too large": ("https://app.example.com:65536/callback", "WHATWG URL 4.4"),
    "port of letters": ("https://app.example.com:https/callback", "WHATWG URL 4.4"),
    "octet too large": ("https://256.1.1.1/callback", "WHATWG URL 4.4"),
    "address in short form": ("https://10.1/callback", "WHATWG URL 3.5"),
    "address without its bracket": ("https://[2001:db8::1/callback", "WHATWG URL 4.4"),
    "address of a future version": ("https://[v1.x]/callback", "WHATWG URL 4.4"),
    "empty label": ("https://app..example.com/callback", "RFC 1123 2.1"),
    "leading dot": ("https://.example.com/callback", "RFC 1123 2.1"),
    "hyphen first": ("https://-app.example.com/callback", "RFC 1123 2.1"),
    "label of 64 characters": (f"https://{'a' * 64}.example.com/callback", "RFC 1123 2.1"),
    "host of 254 characters": (f"https://{'abcdefg.' * 31}abcdef/callback", "RFC 1123 2.1"),
    "delimiters in the host": ("https://app!$.example.com/callback", "RFC 1123 2.1"),
    "2049 characters": ("https://app.example.com/".ljust(2049, "a"), "contract: URLs"),
}

BAD_SCOPES = {
    "empty": "",
    "space": "read write",
    "double quote": 'read"write',
    "backslash": "read\\write",
    "newline": "read\n",
    "delete": "read\x7f",
    "NUL": "\x00",
    "letter outside ASCII": "l\u00e9sen",
    "lone surrogate": "read\ud800",
}

BAD_GRANTS = {
    "implicit": ("implicit", "OAuth 2.1"),
    "password": ("password", "OAuth 2.1"),
    "unknown": ("device", "RFC 7591 2"),
    "empty string": ("", "RFC 7591 2"),
    "capitals": ("Authorization_Code", "RFC 7591 2"),
    "trailing space": ("authorization_code ", "RFC 7591 2"),
    "short name of a URN": ("device_code", "RFC 7591 2"),
    "NUL": ("\x00", "RFC 7591 2"),
    "lone surrogate": ("\ud800", "RFC 7591 2"),
    "enormous": ("x" * 60_000, "RFC 7591 2"),
}

BAD_METHODS = {
    "client_secret_jwt": ("client_secret_jwt", "contract: client_auth_methods"),
    "tls_client_auth": ("tls_client_auth", "RFC 8705 2.1.2"),
    "private_key_jwt without a key": ("private_key_jwt", "RFC 7523"),
    "self_signed_tls_client_auth without a key": ("self_signed_tls_client_auth", "RFC 8705 2.2"),
    "none for a confidential client": ("none", "RFC 6749 2.3"),
    "unknown": ("basic", "RFC 7591 2"),
    "empty string": ("", "RFC 7591 2"),
    "capitals": ("CLIENT_SECRET_BASIC", "RFC 7591 2"),
    "lone surrogate": ("none\udfff", "RFC 7591 2"),
}

BAD_ORIGINS = {
    "wildcard": ("*", "RFC 6454 5"),
    "wildcard host": ("https://*.example.com", "RFC 6454 5"),
    "null": ("null", "RFC 6454 7.3"),
    "null in capitals": ("NULL", "RFC 6454 7.3"),
    "empty": ("", "RFC 6454 6.2"),
    "host alone": ("app.example.com", "RFC 6454 6.2"),
    "trailing slash": ("https://app.example.com/", "RFC 6454 6.2"),
    "path": ("https://app.example.com/app", "RFC 6454 6.2"),
    "query": ("https://app.example.com?x=1", "RFC 6454 6.2"),
    "fragment": ("https://app.example.com#x", "RFC 6454 6.2"),
    "user info": ("https://user@app.example.com", "RFC 3986 3.2.1"),
    "scheme in capitals": ("HTTPS://app.example.com", "RFC 6454 6.2"),
    "host in capitals": ("https://App.example.com", "RFC 6454 6.2"),
    "default port of https": ("https://app.example.com:443", "RFC 6454 6.2"),
    "default port of http": ("http://app.example.com:80", "RFC 6454 6.2"),
    "port with a leading zero": ("https://app.example.com:08443", "RFC 6454 6.2"),
    "port without digits": ("https://app.example.com:", "RFC 3986 3.2.3"),
    "port too large": ("https://app.example.com:65536", "WHATWG URL 4.4"),
    "another scheme": ("ftp://app.example.com", "RFC 6454 6.2"),
    "browser extension": ("chrome-extension://abcdef", "RFC 6454 6.2"),
    "file": ("file://", "RFC 6454 6.2"),
    "without slashes": ("https:app.example.com", "RFC 9110 4.2"),
    "no host": ("https://", "RFC 9110 4.2"),
    "trailing space": ("https://app.example.com ", "RFC 3986 2"),
    "newline": ("https://app.example.com\n", "RFC 3986 2"),
    "backslash": ("https://app.example.com\\", "RFC 3986 2"),
    "host outside ASCII": ("https://b\u00fccher.example", "RFC 3986 2"),
    "lone surrogate": ("https://\ud800.example", "RFC 3986 2"),
    "hexadecimal address": ("http://0x7f.1", "WHATWG URL 3.5"),
    "long address": ("http://[0:0:0:0:0:0:0:1]", "WHATWG URL 3.5"),
    "empty label": ("https://app..example.com", "RFC 1123 2.1"),
    "two origins": ("https://a.example,https://b.example", "RFC 3986 3.2.3"),
    "two origins with a space": ("https://a.example https://b.example", "RFC 3986 2"),
    "2049 characters": ("https://".ljust(2049, "a"), "contract: URLs"),
}

BAD_KEY_SET_LOCATIONS = {
    "empty": ("", "contract: jwks_uri"),
    "relative": ("/jwks.json", "contract: jwks_uri"),
    "http": ("http://keys.example.com/jwks.json", "contract: jwks_uri"),
    "file": ("file:///etc/passwd", "contract: jwks_uri"),
    "data": ("data:application/json,{}", "contract: jwks_uri"),
    "private-use scheme": ("com.example.app:/jwks.json", "contract: jwks_uri"),
    "localhost": ("https://localhost/jwks.json", "contract: jwks_uri"),
    "localhost in capitals": ("https://LOCALHOST/jwks.json", "contract: jwks_uri"),
    "localhost with the root's dot": ("https://localhost./jwks.json", "contract: jwks_uri"),
    "subdomain of localhost": ("https://keys.localhost/jwks.json", "contract: jwks_uri"),
    "multicast DNS": ("https://printer.local/jwks.json", "contract: jwks_uri"),
    "cloud metadata by name": ("https://metadata.google.internal/computeMetadata", "contract: jwks_uri"),
    "internal with the root's dot": ("https://keys.internal./jwks.json", "contract: jwks_uri"),
    "home network": ("https://router.home.arpa/jwks.json", "contract: jwks_uri"),
    "localhost.localdomain": ("https://localhost.localdomain/jwks.json", "contract: jwks_uri"),
    "single label": ("https://keys/jwks.json", "contract: jwks_uri"),
    "loopback": ("https://127.0.0.1/jwks.json", "contract: jwks_uri"),
    "loopback elsewhere in 127/8": ("https://127.9.9.9/jwks.json", "contract: jwks_uri"),
    "private 10/8": ("https://10.0.0.1/jwks.json", "contract: jwks_uri"),
    "private 172.16/12": ("https://172.31.255.1/jwks.json", "contract: jwks_uri"),
    "private 192.168/16": ("https://192.168.0.1/jwks.json", "contract: jwks_uri"),
    "link-local and cloud metadata": ("https://169.254.169.254/latest", "contract: jwks_uri"),
    "carrier-grade NAT": ("https://100.64.0.1/jwks.json", "contract: jwks_uri"),
    "unspecified": ("https://0.0.0.0/jwks.json", "contract: jwks_uri"),
    "this network": ("https://0.1.2.3/jwks.json", "contract: jwks_uri"),
    "multicast": ("https://224.0.0.1/jwks.json", "contract: jwks_uri"),
    "reserved": ("https://240.0.0.1/jwks.json", "contract: jwks_uri"),
    "broadcast": ("https://255.255.255.255/jwks.json", "contract: jwks_uri"),
    "documentation": ("https://192.0.2.1/jwks.json", "contract: jwks_uri"),
    "benchmarking": ("https://198.18.0.1/jwks.json", "contract: jwks_uri"),
    "IPv6 loopback": ("https://[::1]/jwks.json", "contract: jwks_uri"),
    "IPv6 unspecified": ("https://[::]/jwks.json", "contract: jwks_uri"),
    "IPv6 link-local": ("https://[fe80::1]/jwks.json", "contract: jwks_uri"),
    "IPv6 unique local": ("https://[fd00:ec2::254]/latest", "contract: jwks_uri"),
    "IPv6 site-local": ("https://[fec0::1]/jwks.json", "contract: jwks_uri"),
    "IPv6 multicast": ("https://[ff02::1]/jwks.json", "contract: jwks_uri"),
    "IPv6 documentation": ("https://[2001:db8::1]/jwks.json", "contract: jwks_uri"),
    "IPv4-mapped loopback": ("https://[::ffff:7f00:1]/jwks.json", "contract: jwks_uri"),
    "IPv4-mapped private": ("https://[::ffff:10.0.0.1]/jwks.json", "contract: jwks_uri"),
    "IPv4-compatible loopback": ("https://[::7f00:1]/jwks.json", "contract: jwks_uri"),
    "translated loopback (NAT64)": ("https://[64:ff9b::7f00:1]/jwks.json", "contract: jwks_uri"),
    "relayed loopback (6to4)": ("https://[2002:7f00:1::]/jwks.json", "contract: jwks_uri"),
    "tunnelled (Teredo)": ("https://[2001::1]/jwks.json", "contract: jwks_uri"),
    "hexadecimal loopback": ("https://0x7f.1/jwks.json", "WHATWG URL 3.5"),
    "decimal loopback": ("https://2130706433/jwks.json", "WHATWG URL 3.5"),
    "encoded localhost": ("https://%6cocalhost/jwks.json", "WHATWG URL 3.5"),
    "loopback behind user info": ("https://keys.example.com@127.0.0.1/jwks.json", "RFC 3986 3.2.1"),
    "user info": ("https://user:password@keys.example.com/jwks.json", "RFC 3986 3.2.1"),
    "fragment": ("https://keys.example.com/jwks.json#1", "contract: jwks_uri"),
    "no host": ("https:///jwks.json", "RFC 9110 4.2"),
    "space": ("https://keys.example.com/jwks .json", "RFC 3986 2"),
    "full-width loopback": ("https://\uff11\uff12\uff17.0.0.1/jwks.json", "RFC 3986 2"),
    "lone surrogate": ("https://keys.example.com/\ud800", "RFC 3986 2"),
    "2049 characters": ("https://keys.example.com/".ljust(2049, "a"), "contract: URLs"),
}

BAD_KEY_SETS = {
    "empty text": ("", "jwks", "RFC 7517 5"),
    "no JSON": ("keys", "jwks", "RFC 7517 5"),
    "array": ("[]", "jwks", "RFC 7517 5"),
    "null": ("null", "jwks", "RFC 7517 5"),
    "object without keys": ("{}", "jwks", "RFC 7517 5"),
    "keys that is an object": ('{"keys": {}}', "jwks", "RFC 7517 5"),
    "no key": (key_set(), "jwks", "RFC 7517 5"),
    "single key": (json.dumps(RSA), "jwks", "RFC 7517 5"),
    "text behind the object": (key_set(RSA) + "x", "jwks", "RFC 7517 5"),
    "byte order mark": ("\ufeff" + key_set(RSA), "jwks", "RFC 7517 5"),
    "NUL": (key_set(RSA) + "\x00", "jwks", "RFC 7517 5"),
    "lone surrogate": (key_set(RSA, note="?").replace("?", "\ud800"), "jwks", "RFC 7517 5"),
    "escaped lone surrogate": (key_set({**RSA, "kid": "\ud800"}), "jwks", "RFC 7517 5"),
    "NaN": (key_set(RSA, note=float("nan")), "jwks", "RFC 7517 5"),
    "infinity": (key_set(RSA, note=float("inf")), "jwks", "RFC 7517 5"),
    "number of 5,000 digits": ('{"keys": ' + "9" * 5000 + "}", "jwks", "RFC 7517 5"),
    "keys twice": ('{"keys": [], "keys": [{}]}', "jwks", "RFC 7517 5"),
    "kty twice": ('{"keys": [{"kty": "oct", "kty": "RSA"}]}', "jwks", "RFC 7517 5"),
    "nested arrays": ("[" * 30_000 + "]" * 30_000, "jwks", "RFC 7517 5"),
    "nested objects": ('{"keys":' * 7_000 + "1" + "}" * 7_000, "jwks", "RFC 7517 5"),
    "65,537 characters": (key_set(RSA).ljust(65_537), "jwks", "contract: jwks"),
    "51 keys": (key_set(*[EC] * 51), "jwks.keys", "contract: jwks"),
    "key that is text": (key_set(RSA, "key"), "jwks.keys[1]", "RFC 7517 5"),
    "key that is null": (key_set(None), "jwks.keys[0]", "RFC 7517 5"),
    "key without kty": (key_set({}), "jwks.keys[0].kty", "RFC 7517 4.1"),
    "kty that is a number": (key_set({"kty": 1}), "jwks.keys[0].kty", "RFC 7517 4.1"),
    "kty that is a list": (key_set({"kty": ["RSA"]}), "jwks.keys[0].kty", "RFC 7517 4.1"),
    "kty in small letters": (key_set({**RSA, "kty": "rsa"}), "jwks.keys[0].kty", "RFC 7517 4.1"),
    "symmetric key": (key_set({"kty": "oct"}), "jwks.keys[0].kty", "contract: jwks"),
    "private RSA d": (key_set({**RSA, "d": "AQAB"}), "jwks.keys[0].d", "RFC 7517 9.2"),
    "private RSA p": (key_set({**RSA, "p": "AQAB"}), "jwks.keys[0].p", "RFC 7517 9.2"),
    "private RSA q": (key_set({**RSA, "q": "AQAB"}), "jwks.keys[0].q", "RFC 7517 9.2"),
    "private RSA dp": (key_set({**RSA, "dp": "AQAB"}), "jwks.keys[0].dp", "RFC 7517 9.2"),
    "private RSA dq": (key_set({**RSA, "dq": "AQAB"}), "jwks.keys[0].dq", "RFC 7517 9.2"),
    "private RSA qi": (key_set({**RSA, "qi": "AQAB"}), "jwks.keys[0].qi", "RFC 7517 9.2"),
    "private RSA oth": (key_set({**RSA, "oth": []}), "jwks.keys[0].oth", "RFC 7517 9.2"),
    "secret k": (key_set({**RSA, "k": "AQAB"}), "jwks.keys[0].k", "RFC 7517 9.2"),
    "private member that is null": (key_set({**RSA, "d": None}), "jwks.keys[0].d", "RFC 7517 9.2"),
    "private EC d": (key_set(OKP, {**EC, "d": "AQAB"}), "jwks.keys[1].d", "RFC 7517 9.2"),
    "private OKP d": (key_set({**OKP, "d": "AQAB"}), "jwks.keys[0].d", "RFC 7517 9.2"),
    "private member beside keys": (key_set(RSA, d="AQAB"), "jwks.d", "RFC 7517 9.2"),
    "RSA without n": (key_set({"kty": "RSA", "e": "AQAB"}), "jwks.keys[0].n", "RFC 7518 6.3.1"),
    "RSA without e": (key_set({"kty": "RSA", "n": RSA_MODULUS}), "jwks.keys[0].e", "RFC 7518 6.3.1"),
    "RSA e that is a number": (key_set({**RSA, "e": 65537}), "jwks.keys[0].e", "RFC 7518 6.3.1"),
    "RSA e that is empty": (key_set({**RSA, "e": ""}), "jwks.keys[0].e", "RFC 7518 6.3.1"),
    "RSA e with padding": (key_set({**RSA, "e": "Aw=="}), "jwks.keys[0].e", "RFC 7518 6.3.1"),
    "RSA n in base64": (key_set({**RSA, "n": RSA_MODULUS.replace("_", "/")}), "jwks.keys[0].n", "RFC 7518 6.3.1"),
    "RSA n of one character": (key_set({**RSA, "n": "A"}), "jwks.keys[0].n", "RFC 7518 6.3.1"),
    "weak RSA": (key_set({**RSA, "n": WEAK_MODULUS}), "jwks.keys[0].n", "RFC 7518 3.3"),
    "weak RSA behind zeros": (key_set({**RSA, "n": "AAAA" * 100 + WEAK_MODULUS}), "jwks.keys[0].n", "RFC 7518 3.3"),
    "enormous RSA": (key_set({**RSA, "n": "____" * 15_000}), "jwks.keys[0].n", "RFC 7518 3.3"),
    "RSA with an enormous exponent": (key_set({**RSA, "e": "____" * 128}), "jwks.keys[0].e", "contract: jwks"),
    "seventeen levels": (key_set(RSA, other=nested(16)), "jwks", "contract: jwks"),
    "hundreds of levels": (key_set(RSA, other=nested(400)), "jwks", "contract: jwks"),
    "RSA with exponent 1": (key_set({**RSA, "e": "AQ"}), "jwks.keys[0]", "RFC 7518 6"),
    "RSA with an even exponent": (key_set({**RSA, "e": "BA"}), "jwks.keys[0]", "RFC 7518 6"),
    "unknown use": (key_set({**RSA, "use": "fun"}), "jwks.keys[0]", "RFC 7518 6"),
    "use that is a list": (key_set({**RSA, "use": ["sig"], "key_ops": ["verify"]}), "jwks.keys[0]", "RFC 7518 6"),
    "key_ops that is a number": (key_set({**RSA, "use": "sig", "key_ops": 5}), "jwks.keys[0]", "RFC 7518 6"),
    "use that key_ops contradicts": (
        key_set({**RSA, "use": "sig", "key_ops": ["encrypt"]}),
        "jwks.keys[0]",
        "RFC 7518 6",
    ),
    "EC without y": (key_set({**EC, "y": None}), "jwks.keys[0].y", "RFC 7518 6.2"),
    "EC x cut short": (key_set({**EC, "x": EC["x"][:40]}), "jwks.keys[0].x", "RFC 7518 6.2"),
    "EC on an unknown curve": (key_set({**EC, "crv": "P-192"}), "jwks.keys[0].crv", "RFC 7518 6.2"),
    "EC on a curve of OKP": (key_set({**EC, "crv": "Ed25519"}), "jwks.keys[0].crv", "RFC 7518 6.2"),
    "EC on a curve that is a list": (key_set({**EC, "crv": ["P-256"]}), "jwks.keys[0].crv", "RFC 7518 6.2"),
    "EC without a curve": (key_set({"kty": "EC", "x": EC["x"], "y": EC["y"]}), "jwks.keys[0].crv", "RFC 7518 6.2"),
    "EC off its curve": (key_set({**EC, "y": EC["x"]}), "jwks.keys[0]", "RFC 7518 6"),
    "OKP without x": (key_set({"kty": "OKP", "crv": "Ed25519"}), "jwks.keys[0].x", "RFC 7518 6.2"),
    "OKP with another curve's x": (key_set({**OKP, "crv": "Ed448"}), "jwks.keys[0].x", "RFC 7518 6.2"),
    "kid that is a number": (key_set({**RSA, "kid": 1}), "jwks.keys[0].kid", "RFC 7517 4.5"),
    "kid that is null": (key_set({**RSA, "kid": None}), "jwks.keys[0].kid", "RFC 7517 4.5"),
    "kid twice": (key_set({**RSA, "kid": "1"}, {**EC, "kid": "1"}), "jwks.keys[1].kid", "RFC 7517 4.5"),
}

BAD_PAGES = {
    "empty": ("", "RFC 7591 2"),
    "relative": ("/logo.png", "RFC 7591 2"),
    "host alone": ("app.example.com", "RFC 7591 2"),
    "javascript": ("javascript:alert(1)", "RFC 7591 2"),
    "javascript in odd case": ("JavaScript:alert(1)", "RFC 7591 2"),
    "data": ("data:image/png;base64,AAAA", "RFC 7591 2"),
    "ftp": ("ftp://app.example.com/logo.png", "RFC 7591 2"),
    "user info": ("https://user@app.example.com/logo.png", "RFC 3986 3.2.1"),
    "no host": ("https://", "RFC 9110 4.2"),
    "newline": ("https://app.example.com/\nlogo.png", "RFC 3986 2"),
    "letter outside ASCII": ("https://app.example.com/lo\u0121o.png", "RFC 3986 2"),
    "lone surrogate": ("https://app.example.com/\ud800", "RFC 3986 2"),
    "2049 characters": ("https://app.example.com/".ljust(2049, "a"), "contract: URLs"),
}

PAGE_FIELDS = ("logo_url", "website", "terms_url", "privacy_policy")
KEYED: Changes = {"jwks": key_set(RSA)}
FAPI_2: Changes = {"fapi_profile": "fapi2", "client_auth_methods": ("private_key_jwt",), **KEYED}
FAPI_ADVANCED: Changes = {**FAPI_2, "fapi_profile": "fapi1_advanced"}
FAPI_1: Changes = {**FAPI_2, "fapi_profile": "fapi1"}
PUBLIC: Changes = {"is_confidential": False, "client_auth_methods": ("none",)}

BAD = [
    *(Bad(f"name: {law}", {"name": name}, "name", rule) for law, (name, rule) in BAD_NAMES.items()),
    *(
        Bad(f"redirect_uris: {law}", {"redirect_uris": (uri,)}, "redirect_uris[0]", rule)
        for law, (uri, rule) in BAD_REDIRECTS.items()
    ),
    *(Bad(f"scopes: {law}", {"scopes": (scope,)}, "scopes[0]", "RFC 6749 3.3") for law, scope in BAD_SCOPES.items()),
    *(
        Bad(f"grant_types: {law}", {"grant_types": ("authorization_code", grant)}, "grant_types[1]", rule)
        for law, (grant, rule) in BAD_GRANTS.items()
    ),
    *(
        Bad(f"client_auth_methods: {law}", {"client_auth_methods": (method,)}, "client_auth_methods[0]", rule)
        for law, (method, rule) in BAD_METHODS.items()
    ),
    *(
        Bad(f"cors_origins: {law}", {"cors_origins": (origin,)}, "cors_origins[0]", rule)
        for law, (origin, rule) in BAD_ORIGINS.items()
    ),
    *(
        Bad(f"jwks_uri: {law}", {"jwks_uri": uri}, "jwks_uri", rule)
        for law, (uri, rule) in BAD_KEY_SET_LOCATIONS.items()
    ),
    *(Bad(f"jwks: {law}", {"jwks": text}, field, rule) for law, (text, field, rule) in BAD_KEY_SETS.items()),
    *(
        Bad(f"{field}: {law}", {field: url}, field, rule)
        for law, (url, rule) in BAD_PAGES.items()
        for field in PAGE_FIELDS
    ),
    Bad("redirect_uris: none for authorization_code", {"redirect_uris": ()}, "redirect_uris", "RFC 6749 3.1.2.2"),
    Bad(
        "redirect_uris: third is bad",
        {"redirect_uris": ("https://a.example/", "https://b.example/", "https://c.example/#")},
        "redirect_uris[2]",
        "RFC 6749 3.1.2",
    ),
    Bad(
        "redirect_uris: duplicate",
        {"redirect_uris": ("https://a.example/", "https://b.example/", "https://a.example/")},
        "redirect_uris[2]",
        "contract: redirect_uris",
    ),
    Bad(
        "redirect_uris: 201",
        {"redirect_uris": tuple(f"https://app.example.com/{n}" for n in range(201))},
        "redirect_uris",
        "contract: redirect_uris",
    ),
    Bad("scopes: duplicate", {"scopes": ("read", "write", "read")}, "scopes[2]", "contract: scopes"),
    Bad("scopes: 256 characters", {"scopes": ("s" * 256,)}, "scopes[0]", "contract: scopes"),
    Bad("scopes: 201", {"scopes": tuple(f"scope-{n}" for n in range(201))}, "scopes", "contract: scopes"),
    Bad("grant_types: none", {"grant_types": ()}, "grant_types", "RFC 7591 2"),
    Bad("grant_types: refresh_token alone", {"grant_types": ("refresh_token",)}, "grant_types", "RFC 6749 1.5"),
    Bad(
        "grant_types: duplicate",
        {"grant_types": ("authorization_code", "authorization_code")},
        "grant_types[1]",
        "contract: grant_types",
    ),
    Bad(
        "grant_types: client_credentials for a public client",
        {**PUBLIC, "grant_types": ("authorization_code", "client_credentials")},
        "grant_types[1]",
        "RFC 6749 4.4",
    ),
    Bad("client_auth_methods: none at all", {"client_auth_methods": ()}, "client_auth_methods", "RFC 7591 2"),
    Bad(
        "client_auth_methods: duplicate",
        {"client_auth_methods": ("client_secret_post", "client_secret_post")},
        "client_auth_methods[1]",
        "contract: client_auth_methods",
    ),
    Bad(
        "client_auth_methods: none beside others",
        {"client_auth_methods": ("client_secret_basic", "none")},
        "client_auth_methods[1]",
        "RFC 7591 2",
    ),
    Bad(
        "client_auth_methods: secret for a public client",
        {**PUBLIC, "client_auth_methods": ("client_secret_basic",)},
        "client_auth_methods[0]",
        "RFC 6749 2.1",
    ),
    Bad(
        "client_auth_methods: key for a public client",
        {**PUBLIC, **KEYED, "client_auth_methods": ("private_key_jwt",)},
        "client_auth_methods[0]",
        "RFC 6749 2.1",
    ),
    Bad(
        "cors_origins: duplicate",
        {"cors_origins": ("https://a.example", "https://a.example")},
        "cors_origins[1]",
        "contract: cors_origins",
    ),
    Bad(
        "jwks: together with jwks_uri",
        {**KEYED, "jwks_uri": "https://keys.example.com/jwks.json"},
        "jwks",
        "RFC 7591 2",
    ),
    Bad("fapi_profile: unknown", {**FAPI_1, "fapi_profile": "fapi3"}, "fapi_profile", "contract: fapi_profile"),
    Bad("fapi_profile: empty", {**FAPI_1, "fapi_profile": ""}, "fapi_profile", "contract: fapi_profile"),
    Bad("fapi_profile: capitals", {**FAPI_1, "fapi_profile": "FAPI1"}, "fapi_profile", "contract: fapi_profile"),
    Bad("fapi_profile: lone surrogate", {**FAPI_1, "fapi_profile": "\ud800"}, "fapi_profile", "contract: fapi_profile"),
    Bad("fapi1: without private_key_jwt", {"fapi_profile": "fapi1"}, "client_auth_methods", "FAPI 1.0 Baseline 5.2.2"),
    Bad(
        "fapi1: http to loopback",
        {**FAPI_1, "redirect_uris": ("https://app.example.com/", "http://127.0.0.1/callback")},
        "redirect_uris[1]",
        "FAPI 1.0 Baseline 5.2.2",
    ),
    Bad(
        "fapi1: private-use scheme",
        {**FAPI_1, "redirect_uris": ("com.example.app:/callback",)},
        "redirect_uris[0]",
        "FAPI 1.0 Baseline 5.2.2",
    ),
    Bad(
        "fapi1_advanced: another method beside private_key_jwt",
        {**FAPI_ADVANCED, "client_auth_methods": ("private_key_jwt", "client_secret_basic")},
        "client_auth_methods",
        "FAPI 1.0 Advanced 5.2.2-14",
    ),
    Bad(
        "fapi1_advanced: mutual TLS alone",
        {**FAPI_ADVANCED, "client_auth_methods": ("self_signed_tls_client_auth",)},
        "client_auth_methods",
        "FAPI 1.0 Advanced 5.2.2-14",
    ),
    Bad(
        "fapi1_advanced: http to loopback",
        {**FAPI_ADVANCED, "redirect_uris": ("http://[::1]/callback",)},
        "redirect_uris[0]",
        "FAPI 1.0 Baseline 5.2.2",
    ),
    Bad(
        "fapi2: another method beside private_key_jwt",
        {**FAPI_2, "client_auth_methods": ("client_secret_basic", "private_key_jwt")},
        "client_auth_methods",
        "FAPI 2.0 5.3.2.1",
    ),
    Bad("fapi2: secret alone", {"fapi_profile": "fapi2"}, "client_auth_methods", "FAPI 2.0 5.3.2.1"),
    Bad(
        "fapi2: http to loopback",
        {**FAPI_2, "redirect_uris": ("http://localhost/callback",)},
        "redirect_uris[0]",
        "FAPI 2.0 5.3.2.2",
    ),
]

BAD_IN_TWO_FIELDS = [
    Bad("fapi1: public client", {**PUBLIC, "fapi_profile": "fapi1"}, "is_confidential", "contract: fapi_profile"),
    Bad(
        "fapi1_advanced: public client", {**PUBLIC, "fapi_profile": "fapi1_advanced"}, "is_confidential", "FAPI 1.0 Adv"
    ),
    Bad("fapi2: public client", {**PUBLIC, "fapi_profile": "fapi2"}, "is_confidential", "FAPI 2.0 5.3.2.1"),
    Bad(
        "client_auth_methods: none beside a key for a public client",
        {**PUBLIC, **KEYED, "client_auth_methods": ("none", "private_key_jwt")},
        "client_auth_methods[0]",
        "RFC 7591 2",
    ),
]
"""Apart, because these cannot break their rule without breaking a second one elsewhere."""

# ---------------------------------------------------------------------------------------------------------- accepted

GOOD_NAMES = {
    "one character": "x",
    "255 characters": "n" * 255,
    "255 characters outside the basic plane": "\U0001f600" * 255,
    "accents and punctuation": "Caf\u00e9 \u2014 \u201cNo. 1\u201d & sons",
    "right-to-left script with its mark": "\u05d0\u05e4\u05dc\u05d9\u05e7\u05e6\u05d9\u05d4\u200f",
    "joined emoji": "\U0001f468\u200d\U0001f4bb",
    "blanks around": " My Application ",
    "markup": "<b>'; drop table clients; --",
}

GOOD_REDIRECTS = {
    "https": "https://app.example.com/callback",
    "no path": "https://app.example.com",
    "port": "https://app.example.com:8443/callback",
    "default port": "https://app.example.com:443/callback",
    "query": "https://app.example.com/callback?tenant=a&x=%20",
    "query that looks like a path": "https://app.example.com/callback?next=/../x",
    "capitals": "HTTPS://App.Example.COM/Callback",
    "punycode": "https://xn--bcher-kva.example/callback",
    "underscore": "https://my_app.example.com/callback",
    "root's dot": "https://app.example.com./callback",
    "IPv4": "https://192.0.2.10/callback",
    "IPv6": "https://[2001:db8::1]:8443/callback",
    "https to localhost": "https://localhost:8443/callback",
    "dots that are no segment": "https://app.example.com/..callback/a..b/...",
    "at sign in the path": "https://app.example.com/@me",
    "every other delimiter": "https://app.example.com/a!b$c&d'(e)+f,g;h=i:j~k",
    "2048 characters": "https://app.example.com/".ljust(2048, "a"),
    "host of 253 characters": f"https://{'abcdefg.' * 31}abcde/callback",
    "http to 127.0.0.1": "http://127.0.0.1/callback",
    "http to 127.0.0.1 with a port": "http://127.0.0.1:51004/callback",
    "http elsewhere in 127/8": "http://127.8.8.8/callback",
    "http to ::1": "http://[::1]:51004/callback",
    "http to localhost": "http://localhost:3000/callback",
    "http to LOCALHOST": "http://LOCALHOST/callback",
    "private-use scheme": "com.example.app:/callback",
    "private-use scheme with an authority": "com.example.app://callback",
    "private-use scheme with an empty authority": "com.example.app:///callback",
    "private-use scheme in capitals": "Com.Example.App:/callback",
    "private-use scheme with a hyphen": "com.example.my-app:/oauth2redirect/provider",
}

GOOD_ORIGINS = {
    "https": "https://app.example.com",
    "port": "https://app.example.com:8443",
    "http": "http://app.example.com",
    "http on the port of https": "http://app.example.com:443",
    "localhost": "http://localhost:3000",
    "IPv4": "http://127.0.0.1:3000",
    "IPv6": "http://[::1]:3000",
    "punycode": "https://xn--bcher-kva.example",
    "single label": "https://intranet",
}

GOOD_KEY_SET_LOCATIONS = {
    "plain": "https://keys.example.com/jwks.json",
    "port and query": "https://keys.example.com:8443/jwks?version=2",
    "no path": "https://keys.example.com",
    "public IPv4": "https://8.8.8.8/jwks.json",
    "public IPv6": "https://[2606:4700::1111]/jwks.json",
    "6to4 of a public address": "https://[2002:808:808::]/jwks.json",
    "host that only ends like localhost": "https://notlocalhost.example/jwks.json",
    "host that only begins like an address": "https://10.0.0.1.example/jwks.json",
    "root's dot": "https://keys.example.com./jwks.json",
    "2048 characters": "https://keys.example.com/".ljust(2048, "a"),
}

GOOD_KEY_SETS = {
    "RSA": key_set(RSA),
    "EC": key_set(EC),
    "P-384": key_set(EC_384),
    "P-521": key_set(EC_521),
    "secp256k1": key_set(EC_256K),
    "OKP": key_set(OKP),
    "Ed448": key_set(OKP_448),
    "three key types": key_set({**RSA, "kid": "1"}, {**EC, "kid": "2"}, {**OKP, "kid": "3"}),
    "use and algorithm": key_set({**RSA, "use": "sig", "alg": "PS256", "kid": "1"}),
    "key operations": key_set({**EC, "key_ops": ["verify"]}),
    "members nobody knows": key_set({**RSA, "iat": 1, "note": {"a": [None]}}, note="x"),
    "50 keys": key_set(*[EC] * 50),
    "blanks around": f"\n {key_set(RSA)} \n",
    "kid outside ASCII": key_set({**RSA, "kid": "\U0001f511"}),
}

GOOD_GRANTS = {
    "client_credentials": ("client_credentials",),
    "client_credentials with refresh_token": ("client_credentials", "refresh_token"),
    "device_code": ("urn:ietf:params:oauth:grant-type:device_code", "refresh_token"),
    "jwt-bearer": ("urn:ietf:params:oauth:grant-type:jwt-bearer",),
    "saml2-bearer": ("urn:ietf:params:oauth:grant-type:saml2-bearer",),
    "token-exchange": ("urn:ietf:params:oauth:grant-type:token-exchange",),
    "ciba": ("urn:openid:params:grant-type:ciba",),
}

GOOD_PAGES = {
    "https": "https://app.example.com/terms",
    "http": "http://app.example.com/terms",
    "fragment and query": "https://app.example.com/?lang=en#terms",
    "port": "https://app.example.com:8443/",
}

GOOD = [
    Good("unchanged", {}),
    *(Good(f"name: {law}", {"name": name}) for law, name in GOOD_NAMES.items()),
    *(Good(f"redirect_uris: {law}", {"redirect_uris": (uri,)}) for law, uri in GOOD_REDIRECTS.items()),
    *(Good(f"cors_origins: {law}", {"cors_origins": (origin,)}) for law, origin in GOOD_ORIGINS.items()),
    *(Good(f"jwks_uri: {law}", {"jwks_uri": uri}) for law, uri in GOOD_KEY_SET_LOCATIONS.items()),
    *(Good(f"jwks: {law}", {"jwks": text}) for law, text in GOOD_KEY_SETS.items()),
    *(
        Good(f"grant_types: {law}, nowhere to redirect to", {"grant_types": grants, "redirect_uris": ()})
        for law, grants in GOOD_GRANTS.items()
    ),
    *(Good(f"{field}: {law}", {field: url}) for law, url in GOOD_PAGES.items() for field in PAGE_FIELDS),
    Good(
        "redirect_uris: the same but for letter case", {"redirect_uris": ("https://a.example/x", "https://a.example/X")}
    ),
    Good("redirect_uris: 200", {"redirect_uris": tuple(f"https://app.example.com/{n}" for n in range(200))}),
    Good("scopes: none", {"scopes": ()}),
    Good("scopes: every character", {"scopes": ("!#$%&'()*+,-./:;<=>?@[]^_`{|}~", "https://api.example.com/read")}),
    Good("scopes: 255 characters", {"scopes": ("s" * 255,)}),
    Good("cors_origins: none", {"cors_origins": ()}),
    Good("client_auth_methods: both secrets", {"client_auth_methods": ("client_secret_basic", "client_secret_post")}),
    Good("client_auth_methods: private_key_jwt", {**KEYED, "client_auth_methods": ("private_key_jwt",)}),
    Good("client_auth_methods: mutual TLS", {**KEYED, "client_auth_methods": ("self_signed_tls_client_auth",)}),
    Good(
        "client_auth_methods: private_key_jwt by location",
        {"jwks_uri": "https://keys.example.com/jwks.json", "client_auth_methods": ("private_key_jwt",)},
    ),
    Good("public client", PUBLIC),
    Good("public native client", {**PUBLIC, "redirect_uris": ("com.example.app:/callback", "http://127.0.0.1/cb")}),
    Good("fapi1: private_key_jwt alone", FAPI_1),
    Good("fapi1: others beside", {**FAPI_1, "client_auth_methods": ("private_key_jwt", "client_secret_post")}),
    Good("fapi1_advanced", FAPI_ADVANCED),
    Good("fapi2", FAPI_2),
    Good("fapi2: no redirect", {**FAPI_2, "redirect_uris": (), "grant_types": ("client_credentials",)}),
]
