"""Clients as this process saw them last: old perhaps, and so a hint on which nobody is refused or answered."""

from collections import OrderedDict
from collections.abc import Iterable

from projections.clients import Client

_LIMIT = 256  # clients; each is as large as a request may be, and usually a kilobyte or two


class Recent:
    """The clients that were read or written last, of all tenants."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], Client] = OrderedDict()

    def note(self, clients: Iterable[Client]) -> None:
        """These are what was seen last."""
        for client in clients:
            key = (client.tenant_id, client.client_id)
            self._seen[key] = client
            self._seen.move_to_end(key)
        while len(self._seen) > _LIMIT:
            self._seen.popitem(last=False)

    def find(self, tenant_id: str, client_id: str) -> Client | None:
        """What was seen of the client last; None where that is not known any more."""
        return self._seen.get((tenant_id, client_id))
