-- The Wafer server's own two tables, as it documents them, for a database that has none.
CREATE TABLE IF NOT EXISTS cAppinfo (
    appid            VARCHAR(200) NOT NULL,
    secret           VARCHAR(300) NOT NULL,
    login_duration   INT DEFAULT 30,
    session_duration INT DEFAULT 2592000,
    qcloud_appid     VARCHAR(300) DEFAULT 'appid_qcloud',
    ip               VARCHAR(50) DEFAULT '0.0.0.0',
    PRIMARY KEY (appid)
) ENGINE = InnoDB DEFAULT CHARSET = utf8 COLLATE = utf8_general_ci;

CREATE TABLE IF NOT EXISTS cSessionInfo (
    id              INT NOT NULL AUTO_INCREMENT,
    uuid            VARCHAR(100) NOT NULL,
    skey            VARCHAR(100) NOT NULL,
    create_time     DATETIME NOT NULL,
    last_visit_time DATETIME NOT NULL,
    open_id         VARCHAR(100) NOT NULL,
    session_key     VARCHAR(100) NOT NULL,
    user_info       VARCHAR(2048) DEFAULT NULL,
    PRIMARY KEY (id),
    KEY auth (uuid, skey),
    KEY weixin (open_id, session_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_general_ci;
