-- Schema step 1 of the SQLite store. A step that has been released is never edited: changes are
-- new steps.
--
-- lower_id is the key of a device within its scope: the registration id in lower case; id keeps
-- the spelling that was given. Rows are larger than a twentieth of a page, so the big tables keep
-- their rowid (nr) and find it through a narrow unique index.

CREATE TABLE scope (
    id TEXT PRIMARY KEY,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row for each import that was ever finished or is under way. Numbers are not used again, so
-- that a late importer cannot stage into somebody else's import.
CREATE TABLE import (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    scope TEXT NOT NULL REFERENCES scope (id),
    source TEXT NOT NULL,
    state INTEGER NOT NULL, -- 0 staging, 1 finished: its rows are live, 2 being dropped
    row_count INTEGER NOT NULL,
    begun_ms INTEGER NOT NULL,
    touched_ms INTEGER NOT NULL -- when a row was last staged
) STRICT;

-- A row with an import_id exists for readers once that import is finished.
CREATE TABLE enrollment (
    nr INTEGER PRIMARY KEY,
    scope TEXT NOT NULL REFERENCES scope (id),
    lower_id TEXT NOT NULL,
    id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    allocation INTEGER NOT NULL,
    update_hub INTEGER NOT NULL,
    migrate INTEGER NOT NULL,
    hubs TEXT NOT NULL, -- separated by single spaces
    eks BLOB NOT NULL, -- for each: 32 bytes identity, 16-bit length, TPM2B_PUBLIC
    initial_twin BLOB NOT NULL,
    etag TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    import_id INTEGER NOT NULL, -- 0: none
    import_line INTEGER NOT NULL,
    UNIQUE (scope, lower_id)
) STRICT;

CREATE INDEX enrollment_import ON enrollment (import_id) WHERE import_id <> 0;

-- Which enrollment accepts an endorsement key; also of rows that are staged.
CREATE TABLE enrollment_ek (
    scope TEXT NOT NULL,
    ek_id BLOB NOT NULL,
    enrollment_nr INTEGER NOT NULL,
    PRIMARY KEY (scope, ek_id)
) STRICT, WITHOUT ROWID;

-- A deleted registration stays with status 0 and its generation.
CREATE TABLE registration (
    nr INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    lower_id TEXT NOT NULL,
    id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    status INTEGER NOT NULL,
    substatus INTEGER NOT NULL,
    operation_id TEXT NOT NULL,
    hub TEXT NOT NULL,
    device_id TEXT NOT NULL,
    ek_id BLOB NOT NULL,
    srk_pub BLOB NOT NULL,
    srk_name BLOB NOT NULL,
    auth_key BLOB NOT NULL,
    token_hash BLOB NOT NULL,
    nonce_key_id INTEGER NOT NULL,
    nonce_epoch INTEGER NOT NULL,
    nonce_generation INTEGER NOT NULL,
    attested_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    error_code INTEGER NOT NULL,
    error_message TEXT NOT NULL,
    etag TEXT NOT NULL,
    payload BLOB NOT NULL,
    UNIQUE (scope, lower_id)
) STRICT;

CREATE TABLE hub (
    name TEXT PRIMARY KEY,
    kind INTEGER NOT NULL,
    weight INTEGER NOT NULL,
    allocatable INTEGER NOT NULL,
    sealed_connection BLOB NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE identity (
    nr INTEGER PRIMARY KEY,
    hub TEXT NOT NULL,
    device_id TEXT NOT NULL,
    generation_id TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    primary_key BLOB NOT NULL,
    secondary_key BLOB NOT NULL,
    secondary_retires INTEGER NOT NULL,
    etag TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    UNIQUE (hub, device_id)
) STRICT;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    scope TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash BLOB NOT NULL
) STRICT;
