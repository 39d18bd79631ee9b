-- Schema 3: what is held for how long, and on whose account.

ALTER TABLE grp ADD COLUMN body_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE grp ADD COLUMN max_bytes INTEGER;
UPDATE grp SET body_bytes =
    (SELECT ifnull(sum(body_len), 0) FROM message WHERE message.grp = grp.num AND state = 4);

-- Both are mostly NULL, which takes no room.
ALTER TABLE message ADD COLUMN author INTEGER;
ALTER TABLE message ADD COLUMN expires INTEGER;
CREATE INDEX message_by_expiry ON message (expires) WHERE expires IS NOT NULL AND state BETWEEN 1 AND 4;

CREATE TABLE author (
    num INTEGER PRIMARY KEY,
    grp INTEGER NOT NULL,
    key BLOB    NOT NULL CHECK (length(key) = 32),
    UNIQUE (grp, key)
) STRICT;
