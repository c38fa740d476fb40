-- Schema step 2 of the PostgreSQL store: how far each writer is, by which one whose COMMIT nobody
-- answered finds out whether it took effect. Numbers of transactions cannot tell that after a
-- failover: a standby that never heard of a transaction gives its number to another one.
CREATE TABLE writer_mark (
    writer BIGINT PRIMARY KEY, -- drawn at random by each connection that writes
    turn BIGINT NOT NULL,      -- its last transaction
    at_ms BIGINT NOT NULL
) WITH (fillfactor = 50);
