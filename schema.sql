-- mitosis schema 3
--
-- The whole schema. It may be applied any number of times, by any number of processes at once: what stands is left as it is.
-- Every key starts with the tenant, so the tables can be distributed by it.

begin;

select pg_advisory_xact_lock(hashtextextended('mitosis schema', 0));

do $$
begin
    if to_regclass('schema_state') is not null then
        if (select version from schema_state) > 3 then
            raise exception 'this database has a newer schema; it is not taken back to version 3';
        end if;
    end if;
end
$$;

create table if not exists schema_state (
    one boolean primary key default true check (one),
    version integer not null,
    applied_at timestamptz not null default now()
);

-- Who does what: the service; who consumes the log elsewhere; who erases the private part of deleted clients' events;
-- who freezes and moves tenants; and who rebuilds the clients from the log.
-- Roles belong to the whole server, so another database may have made these already.
do $$
declare
    role text;
begin
    foreach role in array array[
        'mitosis_service', 'mitosis_consumer', 'mitosis_eraser', 'mitosis_mover', 'mitosis_operator'
    ] loop
        begin
            if not exists (select from pg_roles where rolname = role) then
                execute format('create role %I nologin', role);
            end if;
        exception
            when duplicate_object or unique_violation then null;
        end;
    end loop;
end
$$;

-- Each works in its role whichever user it connects as. From PostgreSQL 16 on, who makes a role may grant it, but is not
-- yet free to become it.
do $$
declare
    role text;
    may_become text := case when current_setting('server_version_num')::integer < 160000 then 'member' else 'set' end;
begin
    foreach role in array array[
        'mitosis_service', 'mitosis_consumer', 'mitosis_eraser', 'mitosis_mover', 'mitosis_operator'
    ] loop
        if not pg_has_role(current_user, role, may_become) then
            execute format('grant %I to %I', role, current_user);
        end if;
    end loop;
end
$$;

-- ---------------------------------------------------------------------------------------------------------------- the log

-- One row a tenant. Whoever appends locks it, so positions run 1, 2, 3 and become visible in that order.
create table if not exists heads (
    tenant_id text primary key,
    position bigint not null default 0 check (position >= 0),
    digest bytea not null check (length(digest) = 32),
    time timestamptz not null default 'epoch'
);

-- Whether the tenant takes writes here: not while it is frozen, while it arrives from elsewhere, or once it has moved on.
alter table heads add column if not exists state text not null default 'open'
    check (state in ('open', 'frozen', 'arriving', 'moved'));
alter table heads add column if not exists moved_to text check (moved_to is null or state = 'moved');

-- body is json and not jsonb, because jsonb rewrites the text that was hashed.
create table if not exists events (
    tenant_id text not null references heads (tenant_id),
    position bigint not null check (position > 0),
    event_id text not null,
    digest bytea not null check (length(digest) = 32),
    body json not null,
    private text,
    primary key (tenant_id, position),
    unique (tenant_id, event_id)
);

-- a client's events; its name is read out of the body
create index if not exists events_of_client on events (tenant_id, (body ->> 'client_id'), position);

-- Records of tenants that were imported without credentials: their private parts never came, and were not taken away. A
-- record of that in the log would make it another log than the one that it came from.
create table if not exists withheld (
    tenant_id text not null,
    event_id text not null,
    primary key (tenant_id, event_id)
);

comment on column events.digest is 'SHA-256 over the digest before it and the bytes of body';
comment on column events.private is 'the sealed part, committed to by "sealed" in body: in no feed, no archive, no answer';

create or replace function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% on % is refused: %', tg_op, tg_table_name, tg_argv[0] using errcode = 'integrity_constraint_violation';
end
$$;

-- What an eraser may do to a record: take away its private part, once its client is deleted. The digest does not cover it.
-- Whether it is deleted is asked of the log up to its head, by its full name: a table that an eraser may write, or make,
-- says nothing.
create or replace function refuse_all_but_erasure() returns trigger language plpgsql
    set search_path = pg_catalog, pg_temp as $$
declare
    is_deleted boolean;
begin
    execute format(
        $query$
        select exists (
            select from %I.events
            where tenant_id = $1 and body ->> 'client_id' = $2 and body -> 'data' ->> 'type' = 'ClientDeleted'
                and position <= (select position from %I.heads where tenant_id = $1)
        )
        $query$,
        tg_table_schema,
        tg_table_schema
    )
    into is_deleted using old.tenant_id, old.body ->> 'client_id';
    if (new.tenant_id, new.position, new.event_id, new.digest, new.body::text)
            is distinct from (old.tenant_id, old.position, old.event_id, old.digest, old.body::text)
        or new.private is not null
        or not is_deleted
    then
        raise exception 'only a deleted client''s private parts can be erased' using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end
$$;

-- A privilege stops the service; a trigger stops the owner too, and 'always' stops one who poses as a replica.
create or replace trigger events_append_only
    before delete or truncate on events
    for each statement execute function refuse_change('what happened stays');

create or replace trigger events_unchanged
    before update on events
    for each statement when (current_user <> 'mitosis_eraser')
    execute function refuse_change('what happened stays');

create or replace trigger events_only_erased
    before update on events
    for each row execute function refuse_all_but_erasure();

create or replace trigger heads_stay
    before delete or truncate on heads
    for each statement execute function refuse_change('a tenant keeps its head');

create or replace trigger heads_move_forward
    before update on heads
    for each row when (
        new.tenant_id <> old.tenant_id
        or new.position < old.position
        or new.position = old.position and new.digest <> old.digest
        or new.time < old.time
    )
    execute function refuse_change('a head only moves forward');

-- Whoever appends asks for the state; this is for who does not, such as a service of an older version.
create or replace trigger heads_take_changes
    before update on heads
    for each row when (new.position <> old.position and old.state <> 'open' and current_user <> 'mitosis_mover')
    execute function refuse_change('the tenant takes no changes here');

alter table events enable always trigger events_append_only;
alter table events enable always trigger events_unchanged;
alter table events enable always trigger events_only_erased;
alter table heads enable always trigger heads_stay;
alter table heads enable always trigger heads_move_forward;
alter table heads enable always trigger heads_take_changes;

-- ------------------------------------------------------------------------------------------------------------- the clients

-- state is the fold of the client's events; the columns below it are read out of it, to be searched and listed by.
-- name_folded is the case-folded name (Unicode's folding, whatever the database's locale).
create table if not exists clients (
    tenant_id text not null,
    client_id text not null,
    state json not null,
    name_folded text not null,
    id text not null generated always as (state ->> 'id') stored,
    version bigint not null generated always as ((state ->> 'version')::bigint) stored,
    name text not null generated always as (state -> 'settings' ->> 'name') stored,
    status text not null generated always as (state ->> 'status') stored,
    cloned_from text generated always as (state ->> 'cloned_from') stored,
    is_deleted boolean not null generated always as (state ->> 'deleted_at' is not null) stored,
    primary key (tenant_id, client_id)
);

-- the list: newest first
create index if not exists clients_listed on clients (tenant_id, id desc) where not is_deleted;

-- ------------------------------------------------------------------------------------------------------------- the rebuild

-- The clients folded anew from the log, beside the live ones until they are compared. They are gone after a crash of the
-- server, and so is the rebuild that needed them.
create unlogged table if not exists clients_shadow (
    tenant_id text not null,
    client_id text not null,
    state json not null,
    name_folded text not null,
    primary key (tenant_id, client_id)
);

-- The rows that a tenant's last rebuild replaced, as they were; without a state where there was no row.
create table if not exists clients_replaced (
    tenant_id text not null,
    client_id text not null,
    state json,
    name_folded text,
    replaced_at timestamptz not null default now(),
    primary key (tenant_id, client_id)
);

-- ---------------------------------------------------------------------------------------------------------- authentication

-- The ids of the JWTs that clients authenticated with (RFC 7523), as SHA-256: each is good once until it expires.
create table if not exists assertions (
    tenant_id text not null,
    client_id text not null,
    jti_digest bytea not null check (length(jti_digest) = 32),
    expires_at timestamptz not null,
    primary key (tenant_id, client_id, jti_digest)
);

create index if not exists assertions_expiring on assertions (tenant_id, expires_at);

-- Telemetry and no part of a client's state: no event says it and no replay restores it.
create table if not exists secret_usage (
    tenant_id text not null,
    client_id text not null,
    secret_id text not null,
    last_used_at timestamptz not null,
    primary key (tenant_id, client_id, secret_id)
);

-- --------------------------------------------------------------------------------------------------------------- receipts

-- What was answered to a request with an Idempotency-Key, sealed under that key, which is not kept.
create table if not exists receipts (
    tenant_id text not null,
    key_digest bytea not null check (length(key_digest) = 32),
    request_digest bytea not null check (length(request_digest) = 32),
    answer bytea not null,
    expires_at timestamptz not null,
    primary key (tenant_id, key_digest)
);

create index if not exists receipts_expiring on receipts (expires_at);

-- --------------------------------------------------------------------------------------------------------------- consumers

-- How far a named consumer has got in a tenant's log. Whoever takes a tenant over gets the next epoch, and only a holder of
-- the newest one moves the position: a process that slept through its replacement cannot.
create table if not exists checkpoints (
    tenant_id text not null,
    consumer text not null,
    position bigint not null default 0 check (position >= 0),
    epoch bigint not null default 0,
    member text,
    parked_at timestamptz,
    parked_because text,
    updated_at timestamptz not null default now(),
    primary key (tenant_id, consumer),
    check ((parked_at is null) = (parked_because is null))
);

-- The processes that run a consumer. They divide the tenants among those that were seen of late.
create table if not exists members (
    consumer text not null,
    member text not null,
    place text not null,
    seen_at timestamptz not null default now(),
    primary key (consumer, member)
);

comment on column members.place is 'host and process id, for people';

-- --------------------------------------------------------------------------------------------------------------- privileges

revoke all on schema_state, heads, events, withheld, clients, clients_shadow, clients_replaced, assertions, secret_usage,
    receipts, checkpoints, members
    from public, mitosis_service, mitosis_consumer, mitosis_eraser, mitosis_mover, mitosis_operator;

grant select on schema_state
    to mitosis_service, mitosis_consumer, mitosis_eraser, mitosis_mover, mitosis_operator;

grant select, insert (tenant_id, digest), update (position, digest, time) on heads to mitosis_service;
grant select, insert on events to mitosis_service;
grant select on withheld to mitosis_service;
grant select, insert, update (state, name_folded) on clients to mitosis_service;
grant select, insert, delete, update (expires_at) on assertions to mitosis_service; -- update: to lock what is swept
grant select, insert, update on secret_usage to mitosis_service;
grant select, insert, update, delete on receipts to mitosis_service;

-- Whoever follows the log from elsewhere cannot read a private part, whatever it asks for.
grant select on heads to mitosis_consumer;
grant select (tenant_id, position, event_id, digest, body) on events to mitosis_consumer;
grant select, insert, update on checkpoints to mitosis_consumer;
grant select, insert, update, delete on members to mitosis_consumer;

-- Whoever erases need not read what is erased.
grant select, update (position, digest, time) on heads to mitosis_eraser;
grant select (tenant_id, position, event_id, digest, body), insert, update (private) on events to mitosis_eraser;
grant select, insert, update (state, name_folded) on clients to mitosis_eraser;

-- Whoever moves or imports a tenant brings all that it has, its private parts too, and never changes a record.
grant select, insert, update (position, digest, time, state, moved_to) on heads to mitosis_mover;
grant select, insert on events to mitosis_mover;
grant select, insert, delete on withheld to mitosis_mover;
grant select, insert, update (state, name_folded) on clients to mitosis_mover;
grant select, insert on receipts, assertions to mitosis_mover;
grant select, insert, update (last_used_at) on secret_usage to mitosis_mover;
grant select, insert, update (position, epoch, member, parked_at, parked_because, updated_at) on checkpoints
    to mitosis_mover;
grant select on members to mitosis_mover;

-- Whoever rebuilds the clients reads the log and no private part, and locks heads without moving them: for that it takes
-- the right to update a column, and of this one a trigger refuses every change.
grant select, update (tenant_id) on heads to mitosis_operator;
grant select (tenant_id, position, event_id, digest, body) on events to mitosis_operator;
grant select, insert, update, delete on clients, clients_shadow, clients_replaced to mitosis_operator;

insert into schema_state (version) values (3)
on conflict (one) do update set version = excluded.version, applied_at = excluded.applied_at;

commit;
