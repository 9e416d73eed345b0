-- Made to be read: a check of a session that is not in memory walks three trees, by the session's
-- id, by the number of its login and by the number of its user. cSessionInfo below shows all of
-- it under the names of the Wafer server's MySQL table. Times are seconds since the epoch.

CREATE TABLE cAppinfo (
    appid            TEXT PRIMARY KEY NOT NULL,
    secret           TEXT NOT NULL,
    login_duration   INTEGER NOT NULL DEFAULT 30,      -- days
    session_duration INTEGER NOT NULL DEFAULT 2592000, -- seconds
    is_default       INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The names of the keys that secrets here may be encrypted under; the keys are kept elsewhere.
CREATE TABLE mina_key (
    id TEXT PRIMARY KEY NOT NULL
) STRICT, WITHOUT ROWID;

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

-- The last visits, apart: they change far more often than the rest, and hundreds of these rows
-- share a page where three dozen of those do. Every login has a number of its own, so that a
-- visit which comes after the next login finds no row.
CREATE TABLE mina_visit (
    login INTEGER PRIMARY KEY AUTOINCREMENT,
    time  INTEGER NOT NULL
) STRICT;

CREATE TABLE mina_session (
    uuid        TEXT PRIMARY KEY NOT NULL, -- "id" on the wire
    skey        TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    user        INTEGER NOT NULL,          -- mina_user.id
    login       INTEGER NOT NULL           -- mina_visit.login
) STRICT, WITHOUT ROWID;
CREATE INDEX mina_session_user ON mina_session (user);
CREATE TRIGGER mina_session_ends AFTER DELETE ON mina_session BEGIN
    DELETE FROM mina_visit WHERE login = OLD.login;
END;

CREATE VIEW cSessionInfo AS
SELECT s.login AS id, s.uuid, s.skey, s.create_time, v.time AS last_visit_time, u.open_id,
    u.session_key, u.user_info, u.appid
FROM mina_session s JOIN mina_visit v ON v.login = s.login JOIN mina_user u ON u.id = s.user;

-- The change feed: what other processes must forget.
CREATE TABLE mina_event (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    time    INTEGER NOT NULL DEFAULT (unixepoch()),
    session TEXT -- a uuid; NULL: the apps
) STRICT;
