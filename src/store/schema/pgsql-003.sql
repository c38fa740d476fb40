-- Schema step 3 of the PostgreSQL store: what step 6 makes of the SQLite one. A count's row changes
-- often, but only in write transactions, which follow one another as it is.

CREATE TABLE enrollment_count (
    scope TEXT COLLATE "C" PRIMARY KEY,
    total BIGINT NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE registration_count (
    scope TEXT COLLATE "C" NOT NULL,
    status BIGINT NOT NULL,
    total BIGINT NOT NULL,
    PRIMARY KEY (scope, status)
) WITH (fillfactor = 50);
CREATE TABLE group_count (
    scope TEXT COLLATE "C" NOT NULL,
    group_id TEXT COLLATE "C" NOT NULL,
    total BIGINT NOT NULL,
    PRIMARY KEY (scope, group_id)
) WITH (fillfactor = 50);

ALTER TABLE import ADD COLUMN gone BIGINT NOT NULL DEFAULT 0;
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

CREATE FUNCTION enrollment_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO enrollment_count VALUES (new.scope, 1)
        ON CONFLICT (scope) DO UPDATE SET total = enrollment_count.total + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER enrollment_added AFTER INSERT ON enrollment
    FOR EACH ROW WHEN (new.import_id = 0) EXECUTE FUNCTION enrollment_added();
CREATE FUNCTION enrollment_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF old.import_id <> 0 THEN
        UPDATE import SET gone = gone + 1 WHERE id = old.import_id AND state = 1;
        IF NOT FOUND THEN
            RETURN NULL; -- nobody saw it
        END IF;
    END IF;
    UPDATE enrollment_count SET total = total - 1 WHERE scope = old.scope;
    RETURN NULL;
END $$;
CREATE TRIGGER enrollment_removed AFTER DELETE ON enrollment
    FOR EACH ROW EXECUTE FUNCTION enrollment_removed();
CREATE FUNCTION import_counted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    more BIGINT := CASE WHEN new.state = 1 THEN new.row_count ELSE -new.row_count END;
BEGIN
    INSERT INTO enrollment_count VALUES (new.scope, more)
        ON CONFLICT (scope) DO UPDATE SET total = enrollment_count.total + more;
    RETURN NULL;
END $$;
CREATE TRIGGER import_counted AFTER UPDATE OF state ON import
    FOR EACH ROW WHEN ((new.state = 1) <> (old.state = 1)) EXECUTE FUNCTION import_counted();

CREATE FUNCTION registration_counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op <> 'INSERT' THEN
        UPDATE registration_count SET total = total - 1
            WHERE scope = old.scope AND status = old.status;
    END IF;
    IF tg_op <> 'DELETE' THEN
        INSERT INTO registration_count VALUES (new.scope, new.status, 1)
            ON CONFLICT (scope, status) DO UPDATE SET total = registration_count.total + 1;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER registration_added AFTER INSERT OR DELETE ON registration
    FOR EACH ROW EXECUTE FUNCTION registration_counted();
CREATE TRIGGER registration_turned AFTER UPDATE OF status ON registration
    FOR EACH ROW WHEN (new.status <> old.status) EXECUTE FUNCTION registration_counted();

CREATE FUNCTION registration_grouped() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op <> 'INSERT' AND old.status <> 0 AND old.group_id <> '' THEN
        UPDATE group_count SET total = total - 1
            WHERE scope = old.scope AND group_id = lower(old.group_id);
    END IF;
    IF tg_op <> 'DELETE' AND new.status <> 0 AND new.group_id <> '' THEN
        INSERT INTO group_count VALUES (new.scope, lower(new.group_id), 1)
            ON CONFLICT (scope, group_id) DO UPDATE SET total = group_count.total + 1;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER registration_joined AFTER INSERT ON registration
    FOR EACH ROW WHEN (new.group_id <> '') EXECUTE FUNCTION registration_grouped();
CREATE TRIGGER registration_moved AFTER UPDATE OF status, group_id ON registration
    FOR EACH ROW WHEN ((new.status = 0) <> (old.status = 0) OR new.group_id <> old.group_id)
    EXECUTE FUNCTION registration_grouped();
CREATE TRIGGER registration_departed AFTER DELETE ON registration
    FOR EACH ROW WHEN (old.group_id <> '') EXECUTE FUNCTION registration_grouped();

CREATE TABLE audit_base (
    seq BIGINT PRIMARY KEY,
    hash BYTEA NOT NULL,
    mac BYTEA NOT NULL
);

CREATE TABLE chore (
    name TEXT COLLATE "C" PRIMARY KEY,
    scope TEXT COLLATE "C" NOT NULL,
    lower_id TEXT COLLATE "C" NOT NULL,
    due_ms BIGINT NOT NULL
);
