-- A name that no other database has. Apps put it into the prefix of their cache, so that a database
-- never meets the entries of another one that had the same ids.
CREATE TABLE identity (name TEXT NOT NULL) STRICT;
INSERT INTO identity (name) VALUES (lower(hex(randomblob(8))));
