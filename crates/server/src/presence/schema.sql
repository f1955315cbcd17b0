-- Who was last seen when, and where those are who are there.
CREATE TABLE sightings (
    name_key  TEXT    PRIMARY KEY, -- what names are compared by
    name      TEXT    NOT NULL,
    at        INTEGER NOT NULL,    -- milliseconds since 1970
    server    BLOB,                -- the key of the server; nothing: no longer there
    transport TEXT,
    since     INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX sightings_by_server ON sightings (server) WHERE server IS NOT NULL;

-- When each server was last known to run.
CREATE TABLE servers (
    server BLOB    PRIMARY KEY,
    alive  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
