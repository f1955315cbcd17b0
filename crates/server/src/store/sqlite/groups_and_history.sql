-- Groups, their members, and those who are invited.
CREATE TABLE groups (
    id          INTEGER PRIMARY KEY,
    name        TEXT    NOT NULL,
    name_key    TEXT    NOT NULL UNIQUE, -- what names are compared by
    has_history INTEGER NOT NULL,        -- 1: those who join may read what was said before
    since       INTEGER NOT NULL
) STRICT;

CREATE TABLE members (
    of     INTEGER NOT NULL REFERENCES groups (id),
    user   INTEGER NOT NULL REFERENCES users (id),
    role   INTEGER,          -- 0 member, 1 admin, 2 owner; nothing: invited
    since  INTEGER NOT NULL,
    after  INTEGER NOT NULL, -- messages with greater ids may be read
    by     INTEGER NOT NULL REFERENCES users (id), -- who invited them
    PRIMARY KEY (of, user)
) STRICT, WITHOUT ROWID;

-- By what a message is found in the history: two users' numbers, the smaller first, or a group's
-- number and -1. Nothing for messages to everyone.
ALTER TABLE messages ADD COLUMN talk INTEGER;
ALTER TABLE messages ADD COLUMN talk_with INTEGER;
-- 1: the text is kept for the history alone; nobody waits for it.
ALTER TABLE messages ADD COLUMN is_read INTEGER NOT NULL DEFAULT 0;
UPDATE messages
SET talk = min(d.owner, messages.sender), talk_with = max(d.owner, messages.sender)
FROM deliveries d
WHERE d.message = messages.id AND messages.kind = 0;
UPDATE messages SET is_read = 1
WHERE NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.message = messages.id AND d.state = 0);
CREATE INDEX messages_by_talk ON messages (talk, talk_with, id) WHERE talk IS NOT NULL;
CREATE INDEX read_messages ON messages (id) WHERE is_read = 1;
