"""How a database is: what operators look at first. All of it is read, nothing is locked, and no log is gone through."""

import msgspec

from events.log import Conn
from service import schema

HIDDEN = "unknown"  # the state of sessions whose state this user is not shown


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table: `bytes` with its indexes, and how many `rows` the server last estimated it to have."""

    name: str
    bytes: int
    rows: int


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """How far a consumer is behind: in how many tenants, by how many records in all, and where it is parked."""

    consumer: str
    tenants: int
    records: int
    parked: int


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction that is open: while it is, nothing that was deleted since it began can be cleared away."""

    pid: int
    application: str
    state: str
    age_s: float


class Sessions(msgspec.Struct, frozen=True, kw_only=True):
    """How many sessions an application has with this database in a state, such as `idle`."""

    application: str
    state: str
    count: int


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """
    What there is to say of a database.

    `schema_version` is its own and 0 for none, `needed_version` this program's; of a database with an older schema the
    tenants and the consumers are not told. `connections` of `max_connections` are the whole server's. Who may not see
    what others do is told of their sessions, and not of their transactions.
    """

    server_version: str
    schema_version: int
    needed_version: int
    bytes: int
    tables: list[Table]
    tenants: dict[str, int]
    consumers: list[Lag]
    oldest_transaction: Transaction | None
    connections: int
    max_connections: int
    sessions: list[Sessions]


# A user without pg_read_all_stats is shown neither type nor state of others' sessions. They are there all the same; a
# worker of the server's that has a database and a user cannot be told from them.
_IS_CLIENT = """(
    backend_type = 'client backend'
    or (
        backend_type is null and usesysid is not null and datid is not null
        and pid not in (select pid from pg_stat_replication)
    )
)"""

_SERVER = f"""
select current_setting('server_version') as server_version, pg_database_size(current_database()) as bytes,
    current_setting('max_connections')::integer as max_connections,
    (select count(*) from pg_stat_activity where {_IS_CLIENT}) as connections
"""  # noqa: S608 (a constant)

_TABLES = """
select relname as name, pg_total_relation_size(oid) as bytes, greatest(reltuples, 0)::bigint as rows
from pg_class
where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
order by bytes desc, name
"""

_TENANTS = "select state, count(*) from heads where position > 0 group by state order by state"

# a tenant that has moved is followed where it is now
_CONSUMERS = """
select consumer,
    count(*) filter (where heads.position > coalesce(checkpoints.position, 0)) as tenants,
    coalesce(sum(heads.position - coalesce(checkpoints.position, 0)), 0)::bigint as records,
    count(parked_at) as parked
from (select consumer from checkpoints union select consumer from members) as names
cross join heads
left join checkpoints using (tenant_id, consumer)
where heads.position > 0 and heads.state <> 'moved'
group by consumer
order by consumer
"""

_OLDEST = """
select pid, application_name as application, state,
    extract(epoch from clock_timestamp() - xact_start)::float8 as age_s
from pg_stat_activity
where datname = current_database() and xact_start is not null and pid <> pg_backend_pid()
    and backend_type = 'client backend'
order by xact_start
limit 1
"""

_SESSIONS = f"""
select application_name as application, coalesce(state, '{HIDDEN}') as state, count(*) as count
from pg_stat_activity
where datname = current_database() and {_IS_CLIENT}
group by application_name, state
order by count desc, application, state
"""  # noqa: S608 (a constant)


async def vitals(conn: Conn) -> Vitals:
    """How the database is that *conn* is a session with."""
    current, needed = await schema.current(conn), schema.version()
    (server,) = await conn.fetch(_SERVER)
    oldest = await conn.fetchrow(_OLDEST)
    is_known = current >= needed
    return Vitals(
        **server,
        schema_version=current,
        needed_version=needed,
        tables=[Table(**row) for row in await conn.fetch(_TABLES)],
        tenants={row["state"]: row["count"] for row in (await conn.fetch(_TENANTS) if is_known else ())},
        consumers=[Lag(**row) for row in (await conn.fetch(_CONSUMERS) if is_known else ())],
        oldest_transaction=None if oldest is None else Transaction(**oldest),
        sessions=[Sessions(**row) for row in await conn.fetch(_SESSIONS)],
    )
