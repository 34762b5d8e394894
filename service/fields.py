"""
A client's fields as the OpenAPI document shows them.

What stands here is shown, not enforced: the rules have one home, service.rules, and this page takes its numbers and its
tables. What a schema cannot say is in the descriptions.
"""

from typing import Annotated, Any

from msgspec import Meta

from service.credentials import CHECKSUM_LENGTH, PREFIX, RANDOM_LENGTH
from service.naming import TENANT_ID
from service.rules.jwks import LONGEST_SET
from service.rules.uris import LONGEST_URL
from service.rules.validation import FAPI_PROFILES, GRANTS, LONGEST_NAME, LONGEST_SCOPE, METHODS, MOST_ENTRIES

ULID = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"
CLIENT_ID = r"app-[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?"

# neither control characters and line separators nor what turns the direction of writing
_NAME = r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$"
_SCOPE = r"^[!#-\[\]-~]+$"  # RFC 6749 section 3.3
_ORIGIN = r"^https?://[^\s/?#@*\\]+$"  # RFC 6454 section 6.2
_SECRET = f"^{PREFIX}[0-9A-Za-z]{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}}$"


def _shown(description: str | None = None, **schema: Any) -> Meta:  # noqa: ANN401 (keywords of JSON Schema are of every type)
    return Meta(description=description, extra_json_schema=schema)


def _set(description: str, **schema: Any) -> Meta:  # noqa: ANN401 (as above)
    return _shown(description, uniqueItems=True, maxItems=MOST_ENTRIES, **schema)


def _url(description: str | None = None, **schema: Any) -> Meta:  # noqa: ANN401 (as above)
    return _shown(description, format="uri", maxLength=LONGEST_URL, **schema)


_Uri = Annotated[str, _url()]
_ScopeToken = Annotated[str, _shown(pattern=_SCOPE, maxLength=LONGEST_SCOPE)]
_Grant = Annotated[str, _shown(enum=list(GRANTS))]
_Method = Annotated[str, _shown(enum=list(METHODS))]
_Origin = Annotated[str, _shown(pattern=_ORIGIN, maxLength=LONGEST_URL)]

Name = Annotated[
    str,
    _shown("Shown to people: at least one visible character.", minLength=1, maxLength=LONGEST_NAME, pattern=_NAME),
]
RedirectUris = Annotated[
    tuple[_Uri, ...],
    _set(
        "Where authorization codes may be sent, compared exactly: `https`, `http` to a loopback host, or a private-use "
        "scheme with a dot in it; no fragment, wildcard, user info or dot segment. May be empty only where no grant "
        "redirects."
    ),
]
Scopes = Annotated[tuple[_ScopeToken, ...], _set("What the client may ask for.")]
GrantTypes = Annotated[
    tuple[_Grant, ...],
    _set(
        "How the client obtains tokens. `refresh_token` never stands alone; `client_credentials` takes a confidential "
        "client.",
        minItems=1,
    ),
]
Methods = Annotated[
    tuple[_Method, ...],
    _set(
        "How the client authenticates at the token endpoint. A public client says `none` and nothing else; "
        "`private_key_jwt` and `self_signed_tls_client_auth` take `jwks` or `jwks_uri`.",
        minItems=1,
    ),
]
Origins = Annotated[tuple[_Origin, ...], _set("Origins of pages, as browsers send them: scheme, host, optional port.")]
FapiProfile = Annotated[
    str,
    _shown(
        "The profile of the Financial-grade API the client keeps to. All take `https` redirects, a confidential client "
        "and `private_key_jwt`: among other methods (`fapi1`) or alone (`fapi1_advanced`, `fapi2`).",
        enum=list(FAPI_PROFILES),
    ),
]
Confidential = Annotated[bool, _shown("Whether the client can keep a credential to itself (RFC 6749 section 2.1).")]
Jwks = Annotated[
    str,
    _shown(
        "A JWK Set of public keys, as the text of its JSON. Not together with `jwks_uri`.",
        contentMediaType="application/json",
        maxLength=LONGEST_SET,
    ),
]
JwksUri = Annotated[
    str, _url("Where the client's JWK Set is: `https`, on a public host.", pattern="^[hH][tT][tT][pP][sS]://")
]
_PAGE = "^[hH][tT][tT][pP][sS]?://"
LogoUrl = Annotated[str, _url("An image of the client.", pattern=_PAGE)]
Website = Annotated[str, _url("The client's home page.", pattern=_PAGE)]
TermsUrl = Annotated[str, _url("The client's terms of service.", pattern=_PAGE)]
PrivacyPolicy = Annotated[str, _url("The client's privacy policy.", pattern=_PAGE)]

# what only answers have
Ulid = Annotated[str, _shown("The registry's own id, a ULID.", pattern=ULID)]
ClientId = Annotated[str, _shown("The client's `client_id` (RFC 6749 section 2.2).", pattern=f"^{CLIENT_ID}$")]
TenantId = Annotated[str, _shown("Whose client it is.", pattern=f"^{TENANT_ID}$")]
Secret = Annotated[
    str,
    _shown("Shown this once: the registry keeps a hash. Left out where no method uses a secret.", pattern=_SECRET),
]
LastFour = Annotated[str, _shown("What the newest secret ends in.", minLength=4, maxLength=4)]
MethodsText = Annotated[
    str,
    _shown("An array as the text of its JSON, though requests bring an array.", contentMediaType="application/json"),
]
SourceId = Annotated[str, _shown("The client it was cloned from.", pattern=f"^{CLIENT_ID}$")]
Version = Annotated[int, _shown("1 at first, and one more with every change.", minimum=1)]
