-- A running PHP server takes no notice of these: each has a default.
ALTER TABLE cAppinfo ADD COLUMN is_default TINYINT NOT NULL DEFAULT 0;

-- appid: '' is the one app that the PHP server knew. mina_skey: the skey as mina-auth last wrote
-- the row; where the two differ, the PHP server wrote it since.
ALTER TABLE cSessionInfo
    ADD COLUMN appid VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
    ADD COLUMN mina_skey VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL;
