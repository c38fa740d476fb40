-- Schema step 2: what the operators' API needs. Rows of step 1 take the defaults, which are what
-- they meant all along.

ALTER TABLE scope ADD COLUMN service_host TEXT NOT NULL DEFAULT '';
ALTER TABLE scope ADD COLUMN allocation INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX scope_service_host ON scope (service_host) WHERE service_host <> '';

-- Longer names of sources do not fit what is read back.
UPDATE import SET source = substr(source, 1, 63) WHERE length(CAST(source AS BLOB)) > 255;

ALTER TABLE enrollment ADD COLUMN attestation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE enrollment ADD COLUMN srk_pub BLOB NOT NULL DEFAULT x'';
ALTER TABLE enrollment ADD COLUMN pin_srk INTEGER NOT NULL DEFAULT 0;
ALTER TABLE enrollment ADD COLUMN sealed_keys BLOB NOT NULL DEFAULT x'';
ALTER TABLE enrollment ADD COLUMN cert_primary BLOB NOT NULL DEFAULT x'';
ALTER TABLE enrollment ADD COLUMN cert_secondary BLOB NOT NULL DEFAULT x'';
ALTER TABLE enrollment ADD COLUMN device_info BLOB NOT NULL DEFAULT x'';
ALTER TABLE enrollment ADD COLUMN iot_edge INTEGER NOT NULL DEFAULT 0;
ALTER TABLE enrollment ADD COLUMN webhook_url TEXT NOT NULL DEFAULT '';
ALTER TABLE enrollment ADD COLUMN webhook_api_version TEXT NOT NULL DEFAULT '';
ALTER TABLE enrollment ADD COLUMN changed INTEGER NOT NULL DEFAULT 0; -- since it was imported
UPDATE enrollment SET changed = 1 WHERE import_id <> 0 AND updated_ms <> created_ms;

-- With the line, for where a resumed import goes on.
DROP INDEX enrollment_import;
CREATE INDEX enrollment_import ON enrollment (import_id, import_line) WHERE import_id <> 0;
CREATE INDEX enrollment_changed ON enrollment (import_id) WHERE import_id <> 0 AND changed <> 0;

-- A few hundred rows at most.
CREATE TABLE enrollment_group (
    nr INTEGER PRIMARY KEY,
    scope TEXT NOT NULL REFERENCES scope (id),
    lower_id TEXT NOT NULL,
    id TEXT NOT NULL,
    attestation INTEGER NOT NULL,
    enabled INTEGER NOT NULL,
    allocation INTEGER NOT NULL,
    update_hub INTEGER NOT NULL,
    migrate INTEGER NOT NULL,
    hubs TEXT NOT NULL,
    pin_srk INTEGER NOT NULL,
    sealed_keys BLOB NOT NULL,
    cert_primary BLOB NOT NULL,
    cert_secondary BLOB NOT NULL,
    rules BLOB NOT NULL,
    initial_twin BLOB NOT NULL,
    device_info BLOB NOT NULL,
    iot_edge INTEGER NOT NULL,
    webhook_url TEXT NOT NULL,
    webhook_api_version TEXT NOT NULL,
    etag TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    UNIQUE (scope, lower_id)
) STRICT;

-- group_id keeps the spelling that was given, and is compared without regard to case.
-- status is in the index only so that counting reads nothing else.
ALTER TABLE registration ADD COLUMN attestation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE registration ADD COLUMN group_id TEXT COLLATE NOCASE NOT NULL DEFAULT '';
CREATE INDEX registration_group ON registration (scope, group_id, lower_id, status)
    WHERE group_id <> '' AND status <> 0;
-- Registrations without a TPM have an ek_id of zeros.
CREATE INDEX registration_ek ON registration (scope, ek_id, attested_ms)
    WHERE ek_id <> x'0000000000000000000000000000000000000000000000000000000000000000';

CREATE TABLE policy (
    scope TEXT NOT NULL REFERENCES scope (id),
    name TEXT NOT NULL,
    rights INTEGER NOT NULL, -- of enum lk_right
    sealed_primary BLOB NOT NULL,
    sealed_secondary BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE trust (
    id BLOB PRIMARY KEY, -- SHA-256 of der
    kind INTEGER NOT NULL, -- of enum lk_trust_kind
    subject TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    der BLOB NOT NULL
) STRICT;

-- One row: grows with each change of trust.
CREATE TABLE trust_version (version INTEGER NOT NULL) STRICT;
INSERT INTO trust_version (version) VALUES (1);

ALTER TABLE hub ADD COLUMN region TEXT NOT NULL DEFAULT '';
