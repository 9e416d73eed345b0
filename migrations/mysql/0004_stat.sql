-- What requests came to, in rows of a minute and of an hour, and the users of a day. seconds: 60, 3600, or 86400 for a day. start: seconds
-- since the epoch. appid: '' is not known.
CREATE TABLE IF NOT EXISTS mina_stat (
    seconds   INT NOT NULL,
    start     BIGINT NOT NULL,
    appid     VARBINARY(200) NOT NULL,
    interface VARCHAR(50) NOT NULL,
    code      INT UNSIGNED NOT NULL,
    count     BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (seconds, start, appid, interface, code)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The minutes that were added, and by which process: none of them is added twice.
CREATE TABLE IF NOT EXISTS mina_stat_written (
    start BIGINT NOT NULL,
    node  VARCHAR(50) NOT NULL,
    PRIMARY KEY (start, node)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
