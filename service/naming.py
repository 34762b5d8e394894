"""What a tenant may be called."""

import re

TENANT_ID = r"[!-~]{1,128}"
ALL = "*"  # which no tenant is called: it means all of them

_tenant_id = re.compile(TENANT_ID)


def is_tenant_id(text: str) -> bool:
    """Whether *text* can name a tenant: 1 to 128 printable ASCII characters without spaces, and not `*` alone."""
    return _tenant_id.fullmatch(text) is not None and text != ALL
