-- Schema step 4: what an embedded hub keeps of its devices. Identities that are there are of the
-- kind that a registration makes, and get an empty twin.

ALTER TABLE identity ADD COLUMN owner_scope TEXT NOT NULL DEFAULT '';
ALTER TABLE identity ADD COLUMN owner_id TEXT NOT NULL DEFAULT ''; -- lower_id of the registration
ALTER TABLE identity ADD COLUMN auth INTEGER NOT NULL DEFAULT 1; -- of enum lk_identity_auth
ALTER TABLE identity ADD COLUMN thumbprint_primary TEXT NOT NULL DEFAULT '';
ALTER TABLE identity ADD COLUMN thumbprint_secondary TEXT NOT NULL DEFAULT '';
ALTER TABLE identity ADD COLUMN iot_edge INTEGER NOT NULL DEFAULT 0;
ALTER TABLE identity ADD COLUMN status_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE identity ADD COLUMN status_updated_ms INTEGER NOT NULL DEFAULT 0;

-- The owner is the registration that the hub's key was last made for; max() makes the other columns
-- those of its row. Where that was deleted, it is the enrollment that names the device.
CREATE TABLE step_owner (
    hub TEXT NOT NULL,
    device_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    lower_id TEXT NOT NULL,
    at_ms INTEGER,
    PRIMARY KEY (hub, device_id)
) STRICT, WITHOUT ROWID;
INSERT INTO step_owner SELECT hub, device_id, scope, lower_id, max(attested_ms) FROM registration
    WHERE status <> 0 AND hub <> '' GROUP BY hub, device_id;
INSERT INTO step_owner
    SELECT '', iif(device_id = '', id, device_id) AS named, scope, lower_id, max(created_ms)
    FROM enrollment GROUP BY named;
UPDATE identity SET
    owner_scope = coalesce(
        (SELECT o.scope FROM step_owner o WHERE o.hub = identity.hub
         AND o.device_id = identity.device_id),
        (SELECT o.scope FROM step_owner o WHERE o.hub = '' AND o.device_id = identity.device_id),
        ''),
    owner_id = coalesce(
        (SELECT o.lower_id FROM step_owner o WHERE o.hub = identity.hub
         AND o.device_id = identity.device_id),
        (SELECT o.lower_id FROM step_owner o WHERE o.hub = '' AND o.device_id = identity.device_id),
        '');
DROP TABLE step_owner;

CREATE TABLE twin (
    identity_nr INTEGER PRIMARY KEY REFERENCES identity (nr) ON DELETE CASCADE,
    tags BLOB NOT NULL, -- JSON objects, nothing: {}
    desired BLOB NOT NULL,
    reported BLOB NOT NULL,
    desired_meta BLOB NOT NULL,
    reported_meta BLOB NOT NULL,
    desired_version INTEGER NOT NULL,
    reported_version INTEGER NOT NULL,
    version INTEGER NOT NULL,
    etag TEXT NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;
INSERT INTO twin SELECT nr, x'', x'', x'', x'', x'', 1, 1, 1, lower(hex(randomblob(16))), created_ms
    FROM identity;

-- Sessions come and go more often than anything else changes: apart from the wide rows.
CREATE TABLE presence (
    hub TEXT NOT NULL,
    device_id TEXT NOT NULL,
    connected INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    activity_ms INTEGER NOT NULL,
    PRIMARY KEY (hub, device_id),
    FOREIGN KEY (hub, device_id) REFERENCES identity (hub, device_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX presence_connected ON presence (hub) WHERE connected <> 0;

-- Numbers are not used again: a lock of a message that is gone settles no other one. What is short
-- stands before what is long, so that looking at locks reads no bodies.
CREATE TABLE c2d (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    hub TEXT NOT NULL,
    device_id TEXT NOT NULL,
    enqueued_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    locked_until_ms INTEGER NOT NULL,
    lock TEXT NOT NULL,
    deliveries INTEGER NOT NULL,
    properties BLOB NOT NULL,
    body BLOB NOT NULL,
    FOREIGN KEY (hub, device_id) REFERENCES identity (hub, device_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX c2d_device ON c2d (hub, device_id, seq, locked_until_ms);

-- Also of identities that are gone.
CREATE TABLE hub_event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL, -- of enum lk_hub_event_kind
    hub TEXT NOT NULL,
    device_id TEXT NOT NULL,
    detail BLOB NOT NULL
) STRICT;
-- One row: the newest events that there was and that was dropped.
CREATE TABLE hub_event_mark (last INTEGER NOT NULL, pruned INTEGER NOT NULL) STRICT;
INSERT INTO hub_event_mark VALUES (0, 0);
CREATE TRIGGER hub_event_added AFTER INSERT ON hub_event BEGIN
    UPDATE hub_event_mark SET last = new.seq;
END;

CREATE TABLE hub_policy (
    hub TEXT NOT NULL REFERENCES hub (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    rights INTEGER NOT NULL, -- of enum lk_hub_right
    sealed_primary BLOB NOT NULL,
    sealed_secondary BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (hub, name)
) STRICT, WITHOUT ROWID;

-- Identities of each hub, counted by what follows.
CREATE TABLE identity_count (
    hub TEXT PRIMARY KEY,
    total INTEGER NOT NULL,
    disabled INTEGER NOT NULL,
    connected INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO identity_count SELECT hub, count(*), sum(enabled = 0), 0 FROM identity GROUP BY hub;

CREATE TRIGGER identity_added AFTER INSERT ON identity BEGIN
    INSERT INTO identity_count VALUES (new.hub, 1, new.enabled = 0, 0)
        ON CONFLICT (hub) DO UPDATE
        SET total = total + 1, disabled = disabled + (new.enabled = 0);
END;
CREATE TRIGGER identity_switched AFTER UPDATE OF enabled ON identity
WHEN (new.enabled = 0) <> (old.enabled = 0) BEGIN
    UPDATE identity_count SET disabled = disabled + (new.enabled = 0) - (old.enabled = 0)
        WHERE hub = new.hub;
END;
CREATE TRIGGER identity_removed AFTER DELETE ON identity BEGIN
    UPDATE identity_count SET total = total - 1, disabled = disabled - (old.enabled = 0)
        WHERE hub = old.hub;
END;
CREATE TRIGGER presence_added AFTER INSERT ON presence WHEN new.connected <> 0 BEGIN
    UPDATE identity_count SET connected = connected + 1 WHERE hub = new.hub;
END;
CREATE TRIGGER presence_switched AFTER UPDATE OF connected ON presence
WHEN new.connected <> old.connected BEGIN
    UPDATE identity_count SET connected = connected + new.connected - old.connected
        WHERE hub = new.hub;
END;
CREATE TRIGGER presence_removed AFTER DELETE ON presence WHEN old.connected <> 0 BEGIN
    UPDATE identity_count SET connected = connected - 1 WHERE hub = old.hub;
END;
