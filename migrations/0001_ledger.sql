-- The ledger. One row is one entry; what the kinds mean is documented in ARCHITECTURE.md.
-- References between entries (corp, app, api, api_key, process, pending_seq, credential_seq) are `seq` numbers.
-- There is no secondary index on purpose: one index halves the durable throughput and triples the p99.

create table entry (
    seq             integer primary key,             -- dense from 1
    kind            integer not null,                -- see entry_kind
    tick            integer not null,                -- ledger time in ms: monotonic, never goes back
    at              integer not null,                -- wall time, Unix ms in UTC, never goes back
    process         integer,                         -- process.started entry of the writer; null: command line
    corp            integer,                         -- first corp.put entry
    app             integer,                         -- first app.put entry
    api             integer,                         -- api.named entry
    api_key         integer,                         -- api_key.created entry
    actor           text,                            -- who did an administrative act: `user NAME (uid N)`
    pending_seq     integer,                         -- the pending entry that this one settles
    credential_seq  integer,                         -- credential.posted entry of the credential in use
    cost            integer,                         -- calls
    errcode         integer,                         -- WeCom's, or ours in a refusal
    method          text,
    timeout_ms      integer,
    http_status     integer,
    latency_us      integer,
    request_bytes   integer,
    response_bytes  integer,
    request_sha256  blob,
    detail          text                             -- JSON object: what else the kind needs
) strict;

-- Also refuses INSERT OR REPLACE, which deletes without asking the trigger below, and any gap.
create trigger entry_is_only_appended before insert on entry
when new.seq is not (select coalesce(max(seq), 0) + 1 from entry)
begin
    select raise(abort, 'entries are appended one after the other');
end;

create trigger entry_is_never_updated before update on entry
begin
    select raise(abort, 'entries are append-only');
end;

create trigger entry_is_never_deleted before delete on entry
begin
    select raise(abort, 'entries are append-only');
end;

-- Sealed secrets (XChaCha20-Poly1305), under the seq of the entry that brought them. Never part of an entry, so
-- they can be erased without touching the log.
create table sealed_secret (
    seq     integer primary key,
    sealed  blob not null
) strict;

-- The names of the kinds, for people who query with sqlite3.
create table entry_kind (
    kind  integer primary key,
    name  text not null unique
) strict;

insert into entry_kind (kind, name) values
    (1, 'ledger.created'), (2, 'clock.booted'), (3, 'clock.stepped'), (4, 'process.started'), (5, 'process.ended'),
    (6, 'store.recovered'), (7, 'api.named'),
    (20, 'corp.put'), (21, 'corp.removed'), (22, 'app.put'), (23, 'app.reset'), (24, 'app.removed'),
    (25, 'api_key.created'), (26, 'api_key.revoked'), (27, 'api_key.paused'), (28, 'api_key.resumed'),
    (29, 'limits.put'), (30, 'api_key.set'), (31, 'usage.declared'), (33, 'size.declared'),
    (34, 'penalty.cleared'), (35, 'cap.restored'),
    (40, 'call.pending'), (41, 'call.posted'), (42, 'call.voided'), (43, 'call.expired'), (44, 'call.late'),
    (45, 'call.refused'), (46, 'size.learned'), (47, 'penalty.started'), (48, 'penalty.ended'),
    (49, 'cap.learned'), (50, 'alert.raised'), (51, 'webhook.delivered'), (52, 'usage.reconciled'),
    (60, 'credential.pending'), (61, 'credential.posted'), (62, 'credential.expired'),
    (63, 'credential.invalidated'), (64, 'credential.issued');

-- The ledger with names instead of references.
create view v_entry as
select
    e.seq,
    strftime('%Y-%m-%dT%H:%M:%fZ', e.at / 1000.0, 'unixepoch') as at,
    k.name as kind,
    (select json_extract(c.detail, '$.id') from entry c where c.seq = e.corp) as corp_id,
    (select json_extract(a.detail, '$.id') from entry a where a.seq = e.app) as agent_id,
    (select json_extract(n.detail, '$.name') from entry n where n.seq = e.api) as api,
    e.api_key as api_key_id,
    (select json_extract(n.detail, '$.name') from entry n where n.seq = e.api_key) as api_key_name,
    e.actor, e.pending_seq, e.cost, e.errcode, e.tick, e.process, e.method, e.credential_seq, e.timeout_ms,
    e.http_status, e.latency_us, e.request_bytes, e.response_bytes,
    lower(hex(e.request_sha256)) as request_sha256, e.detail
from entry e
left join entry_kind k on k.kind = e.kind;
