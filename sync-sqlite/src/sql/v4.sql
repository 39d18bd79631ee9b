-- Schema 4: messages in blocks, their positions in runs. The rows of the table message are moved by the program.

-- Messages with numbers that follow each other, from this one on. The sum is a keyed hash of number and data.
CREATE TABLE block (
    first INTEGER PRIMARY KEY,
    sum   INTEGER NOT NULL,
    data  BLOB    NOT NULL
) STRICT;

-- The numbers of the messages at 64 positions of a delivery order.
CREATE TABLE place (
    grp  INTEGER NOT NULL,
    part INTEGER NOT NULL,
    -- The highest position up to here whose message was delivered in canonical order.
    top  INTEGER NOT NULL,
    nums BLOB    NOT NULL,
    PRIMARY KEY (grp, part)
) STRICT, WITHOUT ROWID;
CREATE INDEX place_by_top ON place (grp, top);

-- The canonical keys of those that were delivered after others that they come before.
CREATE TABLE late (
    grp     INTEGER NOT NULL,
    eff     INTEGER NOT NULL,
    height  INTEGER NOT NULL,
    id_head INTEGER NOT NULL,
    num     INTEGER NOT NULL,
    PRIMARY KEY (grp, eff, height, id_head, num)
) STRICT, WITHOUT ROWID;

-- Messages in every state but 4.
CREATE TABLE unsettled (
    state INTEGER NOT NULL,
    num   INTEGER NOT NULL,
    PRIMARY KEY (state, num)
) STRICT, WITHOUT ROWID;

-- Messages with a body that expire.
CREATE TABLE expiry (
    at  INTEGER NOT NULL,
    num INTEGER NOT NULL,
    PRIMARY KEY (at, num)
) STRICT, WITHOUT ROWID;
