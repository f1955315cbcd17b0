-- Devices of a name that stand beside each other; a name without any has its mailbox alone.
CREATE TABLE devices (
    owner  INTEGER NOT NULL REFERENCES users (id),
    device INTEGER NOT NULL, -- chosen by the client; 0: sessions that name none
    seen   INTEGER NOT NULL, -- when it was there last
    PRIMARY KEY (owner, device)
) STRICT, WITHOUT ROWID;

-- What each device still has to get.
CREATE TABLE copies (
    owner   INTEGER NOT NULL,
    device  INTEGER NOT NULL,
    message INTEGER NOT NULL REFERENCES messages (id),
    PRIMARY KEY (owner, device, message),
    FOREIGN KEY (owner, device) REFERENCES devices (owner, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX copies_by_message ON copies (message);

-- How the server treats a name; a name without a row has the defaults.
CREATE TABLE settings (
    user          INTEGER PRIMARY KEY REFERENCES users (id),
    seen          INTEGER NOT NULL, -- 1: tells what was seen, and is told
    conversations INTEGER NOT NULL, -- at a time
    last_seen     INTEGER NOT NULL  -- 1: others may know when they were there last
) STRICT;

-- Requests to change groups that were carried out, by the asker's own number.
CREATE TABLE group_references (
    user      INTEGER NOT NULL REFERENCES users (id),
    reference INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (user, reference)
) STRICT, WITHOUT ROWID;
