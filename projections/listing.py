"""The list of a tenant's clients, a page at a time, newest first."""

from typing import NamedTuple

import msgspec

from events.log import Conn
from projections.clients import Client

_decode = msgspec.json.Decoder(Client).decode


class Page(NamedTuple):
    """Some of the clients of a list, and how many there are in all."""

    clients: list[Client]
    total: int


_ALL = "select id from clients where tenant_id = $1 and not is_deleted"
_SOME = f"""
{_ALL}
  and ($4::text is null or strpos(name_folded, $4) > 0)
  and ($5::text is null or status = $5)
  and ($6::text is null or cloned_from = $6)
"""


def _paged(matching: str) -> str:
    return f"""
with matching as ({matching})
select total, state
from (select count(*) as total from matching) as counted
left join lateral (
    select state, id
    from (select distinct id from (select id from matching order by id desc limit $2 offset $3) as page) as page
    join clients using (id)
    where tenant_id = $1 and not is_deleted
) as found on true
order by id desc
"""  # noqa: S608 (constants)


# What is counted is ids: to have everybody's state at hand takes ten times as long. Those of all clients an index has;
# a plan that is kept would read the rows for filters that nobody gave, so there are two statements.
_PAGE_OF_ALL, _PAGE = _paged(_ALL), _paged(_SOME)


async def page(  # noqa: PLR0913 (a list's filters)
    conn: Conn,
    tenant_id: str,
    *,
    number: int,
    size: int,
    name: str | None = None,
    status: str | None = None,
    cloned_from: str | None = None,
) -> Page:
    """
    One page (from 1, of *size*) of the tenant's clients that are not deleted, newest first.

    *name* keeps those whose name contains it, whatever the letter case; *status* those with exactly that status, and
    *cloned_from* the clones of that client.
    """
    where = (tenant_id, size, (number - 1) * size)
    if name is None and status is None and cloned_from is None:
        rows = await conn.fetch(_PAGE_OF_ALL, *where)
    else:
        rows = await conn.fetch(_PAGE, *where, name and name.casefold(), status, cloned_from)
    return Page([_decode(row["state"]) for row in rows if row["state"] is not None], rows[0]["total"])
