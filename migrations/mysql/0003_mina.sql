-- What belongs to the user and not to the session, and the row whose lock guards the user's
-- sessions. The keys are bytes: neither case nor trailing spaces are the same to WeChat.
CREATE TABLE IF NOT EXISTS mina_user (
    appid                VARBINARY(200) NOT NULL,
    open_id              VARBINARY(400) NOT NULL,
    union_id             VARCHAR(200) DEFAULT NULL,
    session_key          VARCHAR(200) NOT NULL,
    previous_session_key VARCHAR(200) DEFAULT NULL,
    user_info            MEDIUMTEXT NOT NULL,
    PRIMARY KEY (appid, open_id),
    KEY mina_user_union (union_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin ROW_FORMAT = DYNAMIC;

-- The change feed: what other nodes must forget. session: a uuid; NULL: the apps. time: seconds
-- since the epoch, by the database's clock.
CREATE TABLE IF NOT EXISTS mina_event (
    id      BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    time    BIGINT NOT NULL,
    session VARCHAR(100) DEFAULT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
