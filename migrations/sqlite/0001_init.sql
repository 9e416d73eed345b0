-- The names are those of the Wafer server's MySQL tables. What belongs to the user and not to the
-- session (profile, session_key) stands in mina_user, once. Times are seconds since the epoch.

CREATE TABLE cAppinfo (
    appid            TEXT PRIMARY KEY NOT NULL,
    secret           TEXT NOT NULL,
    login_duration   INTEGER NOT NULL DEFAULT 30,      -- days
    session_duration INTEGER NOT NULL DEFAULT 2592000, -- seconds
    is_default       INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE cSessionInfo (
    id          INTEGER PRIMARY KEY AUTOINCREMENT, -- a new one with every login
    uuid        TEXT NOT NULL UNIQUE,              -- "id" on the wire
    skey        TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    appid       TEXT NOT NULL,
    open_id     TEXT NOT NULL
) STRICT;
CREATE INDEX cSessionInfo_user ON cSessionInfo (open_id, appid);

-- The last visits, apart: they change far more often than the rest, and hundreds of these rows
-- share a page where two dozen of those do. A visit names its login by cSessionInfo.id, so that
-- one which comes after the next login finds no row.
CREATE TABLE mina_visit (
    session INTEGER PRIMARY KEY NOT NULL, -- cSessionInfo.id
    time    INTEGER NOT NULL
) STRICT;
CREATE TRIGGER mina_visit_of_session AFTER DELETE ON cSessionInfo BEGIN
    DELETE FROM mina_visit WHERE session = OLD.id;
END;

CREATE TABLE mina_user (
    id                   INTEGER PRIMARY KEY,
    appid                TEXT NOT NULL,
    open_id              TEXT NOT NULL,
    union_id             TEXT,
    session_key          TEXT NOT NULL,
    previous_session_key TEXT,
    user_info            TEXT NOT NULL, -- JSON
    UNIQUE (appid, open_id)
) STRICT;
CREATE INDEX mina_user_union ON mina_user (union_id) WHERE union_id IS NOT NULL;

-- The change feed: what other processes must forget.
CREATE TABLE mina_event (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    time    INTEGER NOT NULL DEFAULT (unixepoch()),
    session TEXT -- a uuid; NULL: the apps
) STRICT;
