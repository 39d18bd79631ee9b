-- Schema 2: lists by state without a scan, and values of the layers above.

CREATE INDEX message_by_state ON message (state) WHERE state <> 4;

CREATE TABLE value (
    space TEXT NOT NULL,
    key   BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (space, key)
) STRICT, WITHOUT ROWID;
