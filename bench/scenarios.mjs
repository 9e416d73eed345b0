// What is run for the rows. A scenario starts its servers and measures them in turns, so that
// whatever else the machine does meets all of them alike. It returns, for each of its rows, what
// was measured in each round: `ours`, and `theirs` where the row compares.

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { auth, checkAll, forwardAuth, login, probe, request, send, steadyLogins } from './client.mjs';
import { memory, settle } from './measure.mjs';
import { run } from './processes.mjs';
import {
  BEHIND, CONSTANT, HEADERS, WECHAT, configure, startMariadb, startMinaAuth, startNginx, startRedis, userData,
} from './servers.mjs';
import { firstSession, keepInMemory } from './store.mjs';

const MiB = 1024 * 1024;

/** The scenarios in the order of their running, with the rows that they measure. */
export const SCENARIOS = [
  { rows: ['idle'], measure: idle },
  { rows: ['cpu-hot', 'rate-nginx', 'rate-redis', 'p99'], measure: hotSession },
  { rows: ['socket'], measure: overSocket },
  { rows: ['pipelined'], measure: pipelined },
  { rows: ['forward-auth', 'behind-nginx'], measure: forwardAuths },
  { rows: ['connections'], measure: newConnections },
  { rows: ['p99-logins'], measure: besideLogins },
  { rows: ['logins-sqlite'], measure: loginsOnSqlite },
  { rows: ['logins-mariadb'], measure: loginsOnMariadb },
  { rows: ['memory', 'cpu-random'], measure: cachedSessions },
  { rows: ['memory-minimal'], measure: minimalSessions },
  { rows: ['budget-64'], measure: (bench) => budget(bench, 'budget-64', 64) },
  { rows: ['budget-256'], measure: (bench) => budget(bench, 'budget-256', 256) },
  { rows: ['start', 'stored'], measure: storedSessions },
];

/** Thrown for a row whose subject this binary does not have yet. */
export class NotBuilt extends Error {}

async function idle(bench) {
  const ours = [];
  for (let i = 0; i < 3; i += 1) {
    await withServers(async (use) => {
      const server = await use(mina(bench, { storage: `sqlite:${join(bench.dir, 'idle.db')}` }));
      await sleep(2000);
      ours.push(memory(server.pid) / MiB);
    });
  }
  return { idle: { ours } };
}

async function hotSession(bench) {
  return withServers(async (use) => {
    const { turns } = await besideNginx(bench, use, await bench.store(1));
    const redis = await use(startRedis(bench.dir));
    const runs = await inTurns(bench, { ...turns, redis: (seconds) => bench.meter.redis(redis, seconds) });
    const rate = compare(runs, 'rate');
    return {
      'cpu-hot': compare(runs, 'cpuMicros'),
      'rate-nginx': rate,
      'rate-redis': { ours: rate.ours, theirs: runs.redis },
      p99: compare(runs, 'p99Millis'),
    };
  });
}

async function overSocket(bench) {
  return withServers(async (use) => {
    const store = await bench.store(1);
    const socket = join(bench.dir, 'mina-auth.sock');
    const { server, nginx, turns } = await besideNginx(bench, use, store, { socket });
    const check = request(auth(firstSession(store)));
    const turn = (server, { bytes }) => (seconds) => bench.meter.flood(server, { request: check, answerBytes: bytes, seconds });
    const runs = await inTurns(bench, {
      ours: turn(server, turns.ours.answer), nginx: turn(nginx, turns.nginx.answer),
    });
    return { socket: compare(runs, 'cpuMicros') };
  });
}

async function pipelined(bench) {
  const DEPTH = 16;
  return withServers(async (use) => {
    const store = await bench.store(1);
    const { server, turns } = await besideNginx(bench, use, store);
    const kind = ['pipelined', store.sessions, DEPTH];
    const many = (seconds) => bench.meter.wrk(server, { kind, answerBytes: turns.ours.answer.bytes, seconds });
    const runs = await inTurns(bench, { ours: many, single: turns.ours });
    const cpu = (measured) => measured.map((run) => run.cpuMicros);
    return { pipelined: { ours: cpu(runs.ours), theirs: cpu(runs.single) } };
  });
}

/** Whose a session is, asked by wrk and by an nginx in front. */
async function forwardAuths(bench) {
  return withServers(async (use) => {
    const store = await bench.store(1);
    const server = await use(mina(bench, { storage: store.storage }));
    const asked = forwardAuth(firstSession(store));
    const { head, bytes } = await send(server.port, asked);
    const named = ['x-wx-openid', 'x-wx-appid', 'x-wx-source', 'remote-user', 'cache-control'];
    const headers = named.map((name) => [name, new RegExp(`^${name}: (.*)$`, 'im').exec(head)[1]]);
    const nginx = await use(startNginx(bench.dir, HEADERS(headers)));
    const constant = await send(nginx.port, asked);
    const kind = ['forward-auth', store.sessions];
    const turn = (server, answerBytes) => (seconds) => bench.meter.wrk(server, { kind, answerBytes, seconds });
    const alone = await inTurns(bench, { ours: turn(server, bytes), nginx: turn(nginx, constant.bytes) });

    const fronts = {};
    for (const [name, { port }] of Object.entries({ ours: server, nginx })) {
      const front = await use(startNginx(bench.dir, BEHIND, { vouchingPort: port }));
      const answer = await send(front.port, asked);
      if (!answer.head.includes(headers[0][1])) throw new Error(`nobody was vouched for: ${answer.head}`);
      fronts[name] = turn(front, answer.bytes);
    }
    return {
      'forward-auth': compare(alone, 'cpuMicros'),
      'behind-nginx': compare(await inTurns(bench, fronts), 'rate'),
    };
  });
}

async function newConnections(bench) {
  return withServers(async (use) => {
    const { turns } = await besideNginx(bench, use, await bench.store(1), { close: true });
    return { connections: compare(await inTurns(bench, turns), 'rate') };
  });
}

async function besideLogins(bench) {
  return withServers(async (use) => {
    const wechat = await use(startNginx(bench.dir, WECHAT));
    const { server, turns } = await besideNginx(bench, use, await bench.store(1), { wechatPort: wechat.port });
    const ours = async (seconds, run) => {
      const logins = steadyLogins(server.port, 200, run, userData());
      try {
        return await turns.ours(seconds);
      } finally {
        await logins.stop();
      }
    };
    // Nothing runs beside nginx: the logins may slow the checks down by so much and no more.
    const runs = await inTurns(bench, { ours, nginx: turns.nginx });
    return { 'p99-logins': compare(runs, 'p99Millis') };
  });
}

async function loginsOnSqlite(bench) {
  return { 'logins-sqlite': await logins(bench, `sqlite:${join(bench.dir, 'logins.db')}`) };
}

async function loginsOnMariadb(bench) {
  const config = configure(bench.dir, { storage: 'mysql://user@127.0.0.1/name' });
  await run(bench.binary, ['config', 'show', '--config', config]).catch(() => {
    throw new NotBuilt('`storage.url` takes no mysql:// yet');
  });
  return withServers(async (use) => {
    const mariadb = await use(startMariadb(bench.dir));
    return { 'logins-mariadb': await logins(bench, mariadb.url) };
  });
}

/** New users logging in, with nginx as WeChat. */
async function logins(bench, storage) {
  return withServers(async (use) => {
    const wechat = await use(startNginx(bench.dir, WECHAT));
    const server = await use(mina(bench, { storage, wechatPort: wechat.port }));
    const { bytes } = await right(server.port, login('o'.padEnd(28, '0'), userData()));
    const body = login('CODE', userData());
    const runs = await inTurns(bench, {
      ours: (seconds, run) => bench.meter.wrk(server, { kind: ['login', run, body], answerBytes: bytes, seconds }),
    });
    return { ours: runs.ours.map((run) => run.rate) };
  });
}

async function cachedSessions(bench) {
  const store = await bench.store(bench.sizes.cached);
  return withServers(async (use) => {
    // Twice what the target allows; the default budget is for fewer sessions.
    const { server, turns } = await besideNginx(bench, use, store, { cacheBytes: 1200 * store.count });
    const before = memory(server.pid);
    await checkAll(server.port, store.sessions, store.count);
    await settle(server);
    const bytes = (memory(server.pid) - before) / store.count;
    if (!bench.wanted('cpu-random')) return { memory: { ours: [bytes] } };
    const runs = await inTurns(bench, turns);
    return { memory: { ours: [bytes] }, 'cpu-random': compare(runs, 'cpuMicros') };
  });
}

async function minimalSessions(bench) {
  const store = await bench.store(bench.sizes.minimal, 'minimal');
  return withServers(async (use) => {
    const server = await use(mina(bench, { storage: store.storage, cacheBytes: 1200 * store.count }));
    await settle(server);
    const before = memory(server.pid);
    await checkAll(server.port, store.sessions, store.count);
    await settle(server);
    return { 'memory-minimal': { ours: [(memory(server.pid) - before) / store.count] } };
  });
}

/** Fills a cache of so many MiB. */
async function budget(bench, row, mebibytes) {
  const store = await bench.store(bench.sizes.stored);
  return withServers(async (use) => {
    const server = await use(mina(bench, { storage: store.storage, cacheBytes: mebibytes * MiB }));
    await settle(server);
    const before = memory(server.pid);
    await checkAll(server.port, store.sessions, Math.min(store.count, 1_000_000));
    // The peak: a budget that is kept afterwards only is not kept.
    const used = memory(server.pid, 'VmHWM') - before;
    return { [row]: { ours: [used / MiB], theirs: [mebibytes] } };
  });
}

async function storedSessions(bench) {
  const store = await bench.store(bench.sizes.stored);
  const request = auth(firstSession(store));
  return withServers(async (use) => {
    // What is measured is the server, not how fast this disk reads.
    await use(keepInMemory(store.database));
    const started = [];
    for (let i = 0; i < 5; i += 1) {
      await withServers(async (use) => {
        const server = await use(mina(bench, { storage: store.storage }));
        await right(server.port, request);
        started.push(performance.now() - server.started);
      });
    }
    if (!bench.wanted('stored')) return { start: { ours: started } };
    const server = await use(mina(bench, { storage: store.storage }));
    const { bytes } = await right(server.port, request);
    let part = 0;
    const runs = await inTurns(bench, {
      ours: (seconds) => {
        // No session twice: the second time it would be in memory.
        const kind = ['auth', store.sessions, store.count, part++, bench.rounds + 1];
        return bench.meter.wrk(server, { kind, answerBytes: bytes, seconds });
      },
    });
    return { start: { ours: started }, stored: { ours: runs.ours.map((run) => run.rate) } };
  });
}

function mina(bench, options) {
  return startMinaAuth(bench.binary, bench.dir, options);
}

/**
 * Starts a server on a store, and nginx with the server's own answer as its constant; both take
 * turns with the same requests.
 */
async function besideNginx(bench, use, store, { close = false, ...options } = {}) {
  const server = await use(mina(bench, { storage: store.storage, ...options }));
  const request = auth(firstSession(store));
  const answer = await right(server.port, request, { close });
  const nginx = await use(startNginx(bench.dir, CONSTANT(answer.text)));
  const constant = await right(nginx.port, request, { close });
  const kind = ['auth', store.sessions, store.count];
  const turn = (server, answer) => {
    const measured = (seconds) => bench.meter.wrk(server, { kind, close, answerBytes: answer.bytes, seconds });
    return Object.assign(measured, { answer });
  };
  await settle(server);
  return { server, nginx, turns: { ours: turn(server, answer), nginx: turn(nginx, constant) } };
}

/** Sends a request that must succeed. */
export async function right(port, request, options) {
  const answer = await probe(port, request, options);
  if (!answer.text.startsWith('{"returnCode":0,')) throw new Error(`a request failed: ${answer.text}`);
  return answer;
}

/**
 * Takes the turns again and again, after a short one each to warm up, and returns what each gave
 * in each round.
 */
async function inTurns(bench, turns) {
  const runs = Object.fromEntries(Object.keys(turns).map((name) => [name, []]));
  for (let round = 0; round <= bench.rounds; round += 1) {
    for (const [name, turn] of Object.entries(turns)) {
      const measured = await turn(round === 0 ? 1 : bench.seconds, bench.nextRun());
      if (round > 0) runs[name].push(measured);
    }
  }
  return runs;
}

function compare(runs, field) {
  return { ours: runs.ours.map((run) => run[field]), theirs: runs.nginx.map((run) => run[field]) };
}

/** Runs `work` with servers that it takes into `use`, and stops them in the end. */
export async function withServers(work) {
  const servers = [];
  try {
    return await work(async (starting) => {
      const server = await starting;
      servers.push(server);
      return server;
    });
  } finally {
    for (const server of servers.reverse()) await server.stop();
  }
}
