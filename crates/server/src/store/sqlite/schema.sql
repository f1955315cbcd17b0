-- Names, and the keys that own them.
CREATE TABLE users (
    id       INTEGER PRIMARY KEY,
    name     TEXT    NOT NULL,
    name_key TEXT    NOT NULL UNIQUE, -- what names are compared by
    key      BLOB    NOT NULL,        -- Ed25519, 32 bytes
    since    INTEGER NOT NULL         -- milliseconds since 1970
) STRICT;

-- Messages; the text goes when nobody waits for it any more.
CREATE TABLE messages (
    id        INTEGER PRIMARY KEY,
    sender    INTEGER NOT NULL REFERENCES users (id),
    kind      INTEGER NOT NULL, -- 0 a user, 1 a group, 2 all, 3 others
    recipient TEXT    NOT NULL, -- of a user or group: the name
    text      TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    reference INTEGER           -- the sender's own number
) STRICT;
CREATE UNIQUE INDEX messages_by_reference ON messages (sender, reference)
    WHERE reference IS NOT NULL;
CREATE INDEX messages_by_age ON messages (at);

-- Copies: who gets which message, and what became of it.
CREATE TABLE deliveries (
    owner   INTEGER NOT NULL REFERENCES users (id),
    message INTEGER NOT NULL REFERENCES messages (id),
    state   INTEGER NOT NULL, -- 0 waits, 1 delivered, 2 seen
    PRIMARY KEY (owner, message)
) STRICT, WITHOUT ROWID;
CREATE INDEX waiting_by_owner ON deliveries (owner, message) WHERE state = 0;
CREATE INDEX waiting_by_message ON deliveries (message) WHERE state = 0;
CREATE INDEX deliveries_by_message ON deliveries (message);
