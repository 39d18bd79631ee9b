-- Schema 1. docs/storage.md explains the columns and numbers the invariants.

-- One row: what belongs to the store as a whole.
CREATE TABLE store (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    install      INTEGER,
    tag_key      BLOB    NOT NULL CHECK (length(tag_key) = 16),
    last_group   INTEGER NOT NULL,
    last_peer    INTEGER NOT NULL,
    -- The highest number of a message that was removed; the next number is above it and above all that are there.
    last_removed INTEGER NOT NULL,
    -- Messages up to this number have their tag in message_tag; the few above are looked up in memory.
    tagged       INTEGER NOT NULL
) STRICT;
INSERT INTO store VALUES (1, NULL, randomblob(16), 0, 0, 0, 0);

CREATE TABLE grp (
    num           INTEGER PRIMARY KEY,
    id            BLOB    NOT NULL UNIQUE CHECK (length(id) = 32),
    scheme        INTEGER NOT NULL,
    client_id     TEXT    NOT NULL,
    major_version INTEGER NOT NULL,
    descriptor    BLOB    NOT NULL,
    judged        INTEGER NOT NULL,
    head          INTEGER NOT NULL,
    chain         INTEGER NOT NULL
) STRICT;

CREATE TABLE peer (
    num     INTEGER PRIMARY KEY,
    id      BLOB    NOT NULL UNIQUE CHECK (length(id) = 32),
    install INTEGER
) STRICT;

CREATE TABLE peer_group (
    peer       INTEGER NOT NULL REFERENCES peer ON DELETE CASCADE,
    grp        INTEGER NOT NULL REFERENCES grp ON DELETE CASCADE,
    visibility INTEGER NOT NULL,
    has        BLOB    NOT NULL,
    got        BLOB    NOT NULL,
    mark       INTEGER NOT NULL,
    mark_chain INTEGER NOT NULL,
    PRIMARY KEY (peer, grp)
) STRICT, WITHOUT ROWID;
CREATE INDEX peer_group_by_group ON peer_group (grp);

CREATE TABLE message (
    num       INTEGER PRIMARY KEY,
    grp       INTEGER NOT NULL,
    state     INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    eff       INTEGER NOT NULL,
    -- eff less the timestamp: mostly 0, which takes no room.
    lead      INTEGER NOT NULL,
    height    INTEGER NOT NULL,
    chain     INTEGER NOT NULL,
    origin    INTEGER,
    -- Time of arrival less the timestamp: mostly small.
    delay     INTEGER NOT NULL,
    body_len  INTEGER NOT NULL,
    missing   INTEGER NOT NULL,
    reason    INTEGER NOT NULL,
    -- The id: its first 4 bytes as an integer that sorts as they do, then the other 28.
    id_head   INTEGER NOT NULL,
    id_tail   BLOB    NOT NULL,
    deps      BLOB    NOT NULL,
    -- Short bodies; the long ones are in the table body.
    body      BLOB
) STRICT;
CREATE UNIQUE INDEX message_by_position ON message (grp, position) WHERE position > 0;
CREATE INDEX message_by_key ON message (grp, eff, height, id_head) WHERE position > 0;

-- Finds a message by its id: by 32 bits of a keyed hash of it.
CREATE TABLE message_tag (
    tag INTEGER NOT NULL,
    num INTEGER NOT NULL,
    PRIMARY KEY (tag, num)
) STRICT, WITHOUT ROWID;

CREATE TABLE body (
    num  INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE edge (
    parent INTEGER NOT NULL,
    child  INTEGER NOT NULL,
    PRIMARY KEY (parent, child)
) STRICT, WITHOUT ROWID;

CREATE TABLE head (
    grp INTEGER NOT NULL,
    num INTEGER NOT NULL,
    PRIMARY KEY (grp, num)
) STRICT, WITHOUT ROWID;
