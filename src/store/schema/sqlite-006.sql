-- Schema step 6: what is asked for often is counted as it changes, not by looking at every row; where
-- an audit chain begins whose oldest records were dropped; how far chores are that walk over tables.

-- Enrollments that readers see: those of an import are added when it is finished.
CREATE TABLE enrollment_count (
    scope TEXT PRIMARY KEY,
    total INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Deleted ones that are still there (status 0) too.
CREATE TABLE registration_count (
    scope TEXT NOT NULL,
    status INTEGER NOT NULL,
    total INTEGER NOT NULL,
    PRIMARY KEY (scope, status)
) STRICT, WITHOUT ROWID;
-- Without the deleted ones, by group in lower case.
CREATE TABLE group_count (
    scope TEXT NOT NULL,
    group_id TEXT NOT NULL,
    total INTEGER NOT NULL,
    PRIMARY KEY (scope, group_id)
) STRICT, WITHOUT ROWID;

-- Rows of a finished import that were deleted since.
ALTER TABLE import ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
UPDATE import SET gone = row_count - (SELECT count(*) FROM enrollment e
    WHERE e.import_id = import.id AND e.import_id <> 0) WHERE state = 1;
CREATE INDEX import_open ON import (id) WHERE state <> 1;

INSERT INTO enrollment_count SELECT scope, count(*) FROM enrollment e
    WHERE e.import_id = 0 OR EXISTS (SELECT 1 FROM import i WHERE i.id = e.import_id AND i.state = 1)
    GROUP BY scope;
INSERT INTO registration_count SELECT scope, status, count(*) FROM registration
    GROUP BY scope, status;
INSERT INTO group_count SELECT scope, lower(group_id), count(*) FROM registration
    WHERE group_id <> '' AND status <> 0 GROUP BY 1, 2;

CREATE TRIGGER enrollment_added AFTER INSERT ON enrollment WHEN new.import_id = 0 BEGIN
    INSERT INTO enrollment_count VALUES (new.scope, 1)
        ON CONFLICT (scope) DO UPDATE SET total = total + 1;
END;
CREATE TRIGGER enrollment_removed AFTER DELETE ON enrollment
WHEN old.import_id = 0 OR (SELECT state FROM import WHERE id = old.import_id) = 1 BEGIN
    UPDATE enrollment_count SET total = total - 1 WHERE scope = old.scope;
    UPDATE import SET gone = gone + 1 WHERE id = old.import_id;
END;
CREATE TRIGGER import_finished AFTER UPDATE OF state ON import
WHEN new.state = 1 AND old.state <> 1 BEGIN
    INSERT INTO enrollment_count VALUES (new.scope, new.row_count)
        ON CONFLICT (scope) DO UPDATE SET total = total + new.row_count;
END;
CREATE TRIGGER import_undone AFTER UPDATE OF state ON import
WHEN new.state <> 1 AND old.state = 1 BEGIN
    UPDATE enrollment_count SET total = total - new.row_count WHERE scope = new.scope;
END;

CREATE TRIGGER registration_added AFTER INSERT ON registration BEGIN
    INSERT INTO registration_count VALUES (new.scope, new.status, 1)
        ON CONFLICT (scope, status) DO UPDATE SET total = total + 1;
END;
CREATE TRIGGER registration_turned AFTER UPDATE OF status ON registration
WHEN new.status <> old.status BEGIN
    UPDATE registration_count SET total = total - 1
        WHERE scope = old.scope AND status = old.status;
    INSERT INTO registration_count VALUES (new.scope, new.status, 1)
        ON CONFLICT (scope, status) DO UPDATE SET total = total + 1;
END;
CREATE TRIGGER registration_removed AFTER DELETE ON registration BEGIN
    UPDATE registration_count SET total = total - 1
        WHERE scope = old.scope AND status = old.status;
END;
CREATE TRIGGER registration_joined AFTER INSERT ON registration
WHEN new.status <> 0 AND new.group_id <> '' BEGIN
    INSERT INTO group_count VALUES (new.scope, lower(new.group_id), 1)
        ON CONFLICT (scope, group_id) DO UPDATE SET total = total + 1;
END;
CREATE TRIGGER registration_entered AFTER UPDATE OF status, group_id ON registration
WHEN new.status <> 0 AND new.group_id <> ''
    AND (old.status = 0 OR lower(old.group_id) <> lower(new.group_id)) BEGIN
    INSERT INTO group_count VALUES (new.scope, lower(new.group_id), 1)
        ON CONFLICT (scope, group_id) DO UPDATE SET total = total + 1;
END;
CREATE TRIGGER registration_left AFTER UPDATE OF status, group_id ON registration
WHEN old.status <> 0 AND old.group_id <> ''
    AND (new.status = 0 OR lower(old.group_id) <> lower(new.group_id)) BEGIN
    UPDATE group_count SET total = total - 1
        WHERE scope = old.scope AND group_id = lower(old.group_id);
END;
CREATE TRIGGER registration_departed AFTER DELETE ON registration
WHEN old.status <> 0 AND old.group_id <> '' BEGIN
    UPDATE group_count SET total = total - 1
        WHERE scope = old.scope AND group_id = lower(old.group_id);
END;

-- At most one row: the last record that was dropped, and a MAC over that.
CREATE TABLE audit_base (
    seq INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    mac BLOB NOT NULL
) STRICT;

-- Where the next step of a walk over registrations begins, and not before when.
CREATE TABLE chore (
    name TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    lower_id TEXT NOT NULL,
    due_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
