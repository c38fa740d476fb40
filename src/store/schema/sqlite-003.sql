-- Schema step 3: what is still to be done at hubs elsewhere. One row for each assignment that its
-- hub has not confirmed (kind 1: owner is the scope, name the lower-case registration id), and for
-- each identity that has to leave a hub (kind 2: owner is the hub, name the device id).

CREATE TABLE errand (
    nr INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL, -- of enum lk_errand_kind
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    hub TEXT NOT NULL, -- that is called
    version INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    failure INTEGER NOT NULL, -- of enum lk_err: the latest try's
    created_ms INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    deadline_ms INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    UNIQUE (kind, owner, name)
) STRICT;

CREATE INDEX errand_due ON errand (hub, due_ms);
CREATE INDEX errand_deadline ON errand (deadline_ms);

-- Whose a device id at a hub elsewhere is.
CREATE INDEX registration_device ON registration (hub, device_id) WHERE hub <> '';
