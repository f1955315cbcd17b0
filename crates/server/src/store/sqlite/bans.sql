-- Keys that are kept out.
CREATE TABLE bans (
    key    BLOB    PRIMARY KEY, -- Ed25519, 32 bytes
    reason TEXT    NOT NULL,
    since  INTEGER NOT NULL,
    until  INTEGER,             -- nothing: for ever
    by     BLOB    NOT NULL     -- the admin's key
) STRICT;
