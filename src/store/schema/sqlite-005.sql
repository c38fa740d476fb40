-- Schema step 5: groups are found by an expression that other databases have too. group_id itself is
-- in the index only so that counting reads nothing else.

DROP INDEX registration_group;
CREATE INDEX registration_group ON registration (scope, lower(group_id), lower_id, status, group_id)
    WHERE group_id <> '' AND status <> 0;
