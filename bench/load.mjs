#!/usr/bin/env node
// `make load`: more than a server is made for, and what those notice who do no harm. Thousands of
// connections that do little or nothing; then four times the logins that can be taken.

import { readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { auth } from './client.mjs';
import { CONNECTIONS, Meter, memory, settle } from './measure.mjs';
import { freePort, run, start, useTwoCpus, workDirectory } from './processes.mjs';
import { table, verdict } from './report.mjs';
import { right, withServers } from './scenarios.mjs';
import { startMinaAuth } from './servers.mjs';
import { fillStore, firstSession } from './store.mjs';
import { count } from './targets.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const PROJECT = dirname(HERE);
const MiB = 1024 * 1024;

const USAGE = `usage: bench/load.mjs [--quick] [--binary PATH]

  --quick        half a minute, with fewer connections, instead of two minutes
  --binary PATH  load this binary instead of building one`;

const MODES = {
  quick: { idle: 2_000, slow: 200, seconds: 8 },
  full: { idle: 10_000, slow: 1_000, seconds: 60 },
};

// Half of `limits.requests` may be logins, and this WeChat takes a second for each: on any machine
// that is fast enough to refuse the others, so many are taken in a second.
const CAPACITY = 1_000;
const WECHAT_MS = 1_000;

const EASY = 0.8 * CAPACITY;
const OVERLOAD = 4 * CAPACITY;
const EASY_SECONDS = 5;
const CHECKS_A_SECOND = 200;

/** What is measured and wanted, as in `targets.mjs`. */
const rows = ({ idle, slow }) => [
  { name: 'crowd', title: `auth, p99 beside ${count(idle)} idle connections and ${count(slow)} slow writers`, unit: 'ms', most: 50 },
  { name: 'held', title: 'connections of theirs that were open meanwhile', unit: '', least: idle },
  { name: 'easy', title: `logins a second, of ${count(EASY)}`, unit: '/s', least: 0.99 * EASY },
  { name: 'taken', title: `logins a second, of ${count(OVERLOAD)}`, unit: '/s', least: EASY },
  { name: 'taken-p99', title: `time of such a login beside WeChat's ${WECHAT_MS} ms, p99`, unit: 'ms', most: 500 },
  { name: 'refused-p99', title: 'time of a refused login, p99', unit: 'ms', most: 100 },
  { name: 'answered', title: 'logins that had an answer', unit: '%', least: 100 },
  { name: 'checks', title: 'auth meanwhile, of the known session: valid', unit: '%', least: 100 },
  { name: 'checks-p99', title: 'auth meanwhile, p99', unit: 'ms', most: 50 },
  { name: 'memory', title: 'memory beyond what the easy logins took', unit: 'MiB', most: 100 },
  { name: 'after', title: `logins a second, of ${count(EASY)}, a second later`, unit: '/s', least: 0.99 * EASY },
].map((row) => ({ ...row, title: () => row.title }));

async function main() {
  const options = parse();
  const sizes = MODES[options.quick ? 'quick' : 'full'];
  await run(join(HERE, 'setup.sh'), [], { seconds: 600 });
  const binary = resolve(options.binary ?? await build());
  const meter = new Meter(useTwoCpus());
  const dir = workDirectory(join(PROJECT, 'target'));
  const load = { binary, dir, meter, ...sizes, store: await fillStore(binary, dir, 1) };

  say('a crowd that does nothing');
  const measured = await crowd(load);
  say('too many logins');
  Object.assign(measured, await overload(load));

  const results = rows(sizes).map((row) => ({ row, result: judge(row, measured[row.name]) }));
  console.log(table(results));
  return results.every(({ result }) => result.status === 'pass');
}

function judge(row, value) {
  if (value === undefined) return { status: 'FAILED', reason: 'there were none' };
  return verdict(row, { ours: [value] });
}

/** Checks as fast as they are answered, beside connections that send nothing or a byte a second. */
async function crowd({ binary, dir, meter, store, idle, slow, seconds }) {
  return withServers(async (use) => {
    const server = await use(startMinaAuth(binary, dir, { storage: store.storage }));
    const { bytes } = await right(server.port, auth(firstSession(store)));
    const held = () => readdirSync(`/proc/${server.pid}/fd`).length;
    // The connections of probes are gone by then.
    await settle(server);
    const before = held();
    await use(start(process.execPath, [join(HERE, 'crowd.mjs'), server.port, idle, slow].map(String)));
    for (let waited = 0; held() - before < idle + slow; waited += 1) {
      if (waited === 60) throw new Error(`only ${held() - before} connections were accepted`);
      await sleep(500);
    }
    const kind = ['auth', store.sessions, store.count];
    const checks = meter.wrk(server, { kind, answerBytes: bytes, seconds });
    let least = Infinity;
    const watch = setInterval(() => { least = Math.min(least, held() - before - CONNECTIONS); }, 100);
    const { p99Millis } = await checks.finally(() => clearInterval(watch));
    return { crowd: p99Millis, held: least };
  });
}

/** Logins, first as many as can be taken, then four times more, then as before; and checks. */
async function overload({ binary, dir, store, seconds }) {
  return withServers(async (use) => {
    const wechatPort = await freePort();
    await use(start(process.execPath, [join(HERE, 'slow-wechat.mjs'), wechatPort, WECHAT_MS].map(String)));
    const server = await use(startMinaAuth(binary, dir, { storage: store.storage, wechatPort }));
    const session = firstSession(store);
    await right(server.port, auth(session));
    const ask = async (rate, seconds, session = '') => {
      const args = [join(HERE, 'ask.mjs'), server.port, rate, seconds, session].map(String);
      return JSON.parse(await run(process.execPath, args, { seconds: seconds + 60 }));
    };
    const easy = await ask(EASY, EASY_SECONDS);
    await settle(server);
    const before = memory(server.pid, 'VmHWM');
    const [logins, checks] = await Promise.all([
      ask(OVERLOAD, seconds),
      ask(CHECKS_A_SECOND, seconds, session),
    ]);
    const used = memory(server.pid, 'VmHWM') - before;
    await sleep(1000);
    const after = await ask(EASY, EASY_SECONDS);
    return {
      easy: easy.valid.count / EASY_SECONDS,
      taken: logins.valid.count / seconds,
      'taken-p99': logins.valid.p99 - WECHAT_MS,
      'refused-p99': logins.refused.p99,
      answered: 100 * (logins.valid.count + logins.refused.count) / logins.asked,
      checks: 100 * checks.valid.count / checks.asked,
      'checks-p99': checks.valid.p99,
      memory: used / MiB,
      after: after.valid.count / EASY_SECONDS,
    };
  });
}

function parse() {
  try {
    const { values } = parseArgs({
      options: { quick: { type: 'boolean' }, binary: { type: 'string' }, help: { type: 'boolean' } },
    });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    return values;
  } catch (error) {
    console.error(`load: ${error.message}\n${USAGE}`);
    process.exit(2);
  }
}

async function build() {
  say('building');
  await run('cargo', ['build', '--release', '--locked'], { cwd: PROJECT, seconds: 1800 });
  return join(PROJECT, 'target', 'release', 'mina-auth');
}

function say(text) {
  console.error(`load: ${text}`);
}

main().then((reached) => process.exit(reached ? 0 : 1), (error) => {
  say(error.message);
  process.exit(1);
});
