-- What requests came to, in rows of a minute and of an hour, and the users of a day. start: seconds since the epoch.
CREATE TABLE mina_stat (
    seconds   INTEGER NOT NULL, -- 60, 3600, or 86400 for a day
    start     INTEGER NOT NULL,
    appid     TEXT NOT NULL,    -- '': not known
    interface TEXT NOT NULL,
    code      INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    PRIMARY KEY (seconds, start, appid, interface, code)
) STRICT, WITHOUT ROWID;

-- The minutes that were added, and by which process: none of them is added twice.
CREATE TABLE mina_stat_written (
    start INTEGER NOT NULL,
    node  TEXT NOT NULL,
    PRIMARY KEY (start, node)
) STRICT, WITHOUT ROWID;
