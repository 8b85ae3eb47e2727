CREATE TABLE users (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    name    TEXT NOT NULL,
    email   TEXT NOT NULL,
    -- One more with every update: shows updates that ran at the same time.
    version INTEGER NOT NULL DEFAULT 1
) STRICT;
