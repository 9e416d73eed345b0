// Stores with any number of sessions, written past the server: a login each would take hours.

import { closeSync, mkdtempSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { SESSION_BYTES } from './client.mjs';
import { run } from './processes.mjs';
import { APP, configure, profile } from './servers.mjs';

const FILL_LIMIT_SECONDS = 900;

/** Makes a SQLite store of `count` sessions, and a file of their ids and skeys, a line each. */
export async function fillStore(binary, dir, count) {
  const prefix = mkdtempSync(join(dir, 'store-'));
  const database = join(prefix, 'mina-auth.db'), sessions = join(prefix, 'sessions');
  const storage = `sqlite:${database}`;
  await run(binary, ['migrate', '--config', configure(dir, { storage })], { cwd: dir });
  const [before, after] = profile('OPENID').split('OPENID');
  await run('sqlite3', ['-bail', database], {
    seconds: FILL_LIMIT_SECONDS,
    input: `
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000;
BEGIN;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})
INSERT INTO mina_user (appid, open_id, session_key, user_info)
SELECT '${APP}', open_id, 'a2tra2tra2tra2tra2tr', '${before}' || open_id || '${after}'
FROM (SELECT 'o' || substr(hex(randomblob(14)), 1, 27) AS open_id FROM n);
-- The last visit was within the last day, so that the next check has one to write.
INSERT INTO mina_visit (login, time)
SELECT id, unixepoch() - abs(random() % 86400) FROM mina_user;
-- In their order, as a random one would take hours.
INSERT INTO mina_session (uuid, skey, create_time, user, login)
SELECT lower(hex(randomblob(16))) AS uuid, lower(hex(randomblob(16))), unixepoch() - 86400, id, id
FROM mina_user ORDER BY uuid;
COMMIT;
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
.output ${sessions}
SELECT uuid || skey FROM mina_session;
`,
  });
  // What the system has yet to write would be written while something is measured.
  await run('sync', [database, sessions], { seconds: 300 });
  const { size } = statSync(sessions);
  if (size !== count * SESSION_BYTES) throw new Error(`the store has ${size / SESSION_BYTES} sessions, not ${count}`);
  return { storage, database, sessions, count };
}

/** The id and skey of a store's first session, one after the other. */
export function firstSession(store) {
  const file = openSync(store.sessions);
  const record = Buffer.alloc(SESSION_BYTES - 1);
  readSync(file, record, 0, record.length, 0);
  closeSync(file);
  return record.toString('latin1');
}
