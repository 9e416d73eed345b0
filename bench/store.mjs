// Stores with any number of sessions, written past the server: a login each would take hours.

import { createHash, randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { SESSION_BYTES } from './client.mjs';
import { memory } from './measure.mjs';
import { run, start } from './processes.mjs';
import { APP, MINIMAL, configure, profile } from './servers.mjs';

const FILL_LIMIT_SECONDS = 900;
const LINES_AT_ONCE = 10_000;

/**
 * Makes a SQLite store of `count` sessions, and a file of their ids and skeys, a line each. The
 * profiles are of 350 bytes (`shown`), or say nothing but the openid (`minimal`).
 */
export async function fillStore(binary, dir, count, profiles) {
  const prefix = mkdtempSync(join(dir, 'store-'));
  const database = join(prefix, 'mina-auth.db'), sessions = join(prefix, 'sessions'), rows = join(prefix, 'rows');
  const storage = `sqlite:${database}`;
  const config = configure(dir, { storage });
  await run(binary, ['migrate', '--config', config], { cwd: dir });
  writeSessions(sessions, rows, count);
  const [before, after] = (profiles === 'minimal' ? MINIMAL : profile('OPENID')).split('OPENID');
  await run('sqlite3', ['-bail', database], {
    seconds: FILL_LIMIT_SECONDS,
    input: `
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000;
CREATE TEMP TABLE row (uuid, skey);
.mode csv
.import ${rows} row
BEGIN;
INSERT INTO mina_user (appid, open_id, session_key, user_info)
SELECT '${APP}', open_id, 'a2tra2tra2tra2tra2traw==', '${before}' || open_id || '${after}'
-- Of the id: anything random would be another one wherever it is named.
FROM (SELECT 'o' || substr(uuid, 6, 27) AS open_id FROM row);
-- The last visit was within the last day, so that the next check has one to write.
INSERT INTO mina_visit (login, time)
SELECT id, unixepoch() - abs(random() % 86400) FROM mina_user;
INSERT INTO mina_session (uuid, skey, create_time, user, login)
SELECT uuid, skey, unixepoch() - 86400, rowid, rowid FROM row ORDER BY rowid;
COMMIT;
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
`,
  });
  // The session_keys were written plain, and are encrypted as those of logins are. Pages that were
  // split for it are put together again, as logins would have filled them.
  await run(binary, ['secrets', 'rotate', '--config', config], { cwd: dir, seconds: FILL_LIMIT_SECONDS });
  const vacuum = 'PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; VACUUM; PRAGMA journal_mode = WAL';
  await run('sqlite3', ['-bail', database, vacuum], { seconds: FILL_LIMIT_SECONDS });
  rmSync(rows);
  // What the system has yet to write would be written while something is measured.
  await run('sync', [database, sessions], { seconds: 300 });
  const { size } = statSync(sessions);
  if (size !== count * SESSION_BYTES) throw new Error(`the store has ${size / SESSION_BYTES} sessions, not ${count}`);
  return { storage, database, sessions, count };
}

/**
 * Writes ids with skeys, and ids with the hashes of skeys that a store has. The ids are in their
 * order, as rows in a random one would take hours.
 */
function writeSessions(sessions, rows, count) {
  const files = [sessions, rows].map((path) => openSync(path, 'w'));
  for (let first = 0; first < count; first += LINES_AT_ONCE) {
    const lines = [[], []];
    for (let at = first; at < Math.min(first + LINES_AT_ONCE, count); at++) {
      const start = Math.floor((at + Math.random()) * 2 ** 32 / count).toString(16).padStart(8, '0');
      const id = start + randomBytes(12).toString('hex');
      const skey = randomBytes(16).toString('hex');
      lines[0].push(`${id}${skey}\n`);
      lines[1].push(`${id},sha256:${createHash('sha256').update(skey).digest('base64url')}\n`);
    }
    files.forEach((file, which) => writeSync(file, lines[which].join('')));
  }
  files.forEach((file) => closeSync(file));
}

/**
 * Keeps a file in the system's page cache until it is stopped. Some machines throw out what was not
 * read for seconds, and then a disk is measured; where locking is not allowed, they still do.
 */
export async function keepInMemory(file) {
  await run('vmtouch', ['-q', '-t', file], { seconds: FILL_LIMIT_SECONDS });
  const lock = start('vmtouch', ['-q', '-l', file]);
  do await sleep(100); while (!lock.end() && memory(lock.pid, 'VmLck') < statSync(file).size);
  if (lock.end()) console.error('bench: `vmtouch -l` may not lock the store in memory: run this as root');
  return lock;
}

/** The id and skey of a store's first session, one after the other. */
export function firstSession(store) {
  const file = openSync(store.sessions);
  const record = Buffer.alloc(SESSION_BYTES - 1);
  readSync(file, record, 0, record.length, 0);
  closeSync(file);
  return record.toString('latin1');
}
