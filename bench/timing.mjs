#!/usr/bin/env node
// `make timing`: whether the time of a refusal tells which ids there are.
//
// Asks about real ids with a wrong skey and about ids that nobody has, in random order, and
// compares the times with the rank-sum test of Mann and Whitney. As an attacker would, it asks
// about each id several times and believes the fastest answer: that is the one which nothing but
// the server held up. All questions go over one connection, so that they differ in nothing else.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { login, probe } from './client.mjs';
import { freePort, start, workDirectory } from './processes.mjs';
import { startMinaAuth } from './servers.mjs';

const PROJECT = dirname(dirname(fileURLToPath(import.meta.url)));

const USAGE = `usage: bench/timing.mjs [--binary PATH] [--pairs N]

  --binary PATH  ask this binary instead of target/release/mina-auth
  --pairs N      how many ids of each kind to ask about (1000)`;

// In standard deviations, the customary bound of such tests (dudect): equal kinds pass it once in
// a hundred thousand runs.
const THRESHOLD = 4.5;

const SESSIONS = 200;
const QUESTIONS = 5;
const KINDS = ['wrong skey', 'unknown id'];

async function main() {
  const { binary, pairs } = parse();
  const dir = workDirectory(join(PROJECT, 'target'));
  const wechatPort = await freePort();
  const simulator = start(binary, ['simulate', '--listen', `127.0.0.1:${wechatPort}`], { cwd: dir });
  const server = await startMinaAuth(binary, dir, { storage: 'sqlite:mina-auth.db', wechatPort });
  const ids = [];
  while (ids.length < SESSIONS) ids.push(await logIn(server.port, wechatPort));

  let same = true;
  for (const [name, interfaceName, data] of [
    ['check', 'qcloud.cam.auth', {}],
    ['decrypt', 'qcloud.cam.decrypt', { encrypt_data: 'AAAA', iv: 'AAAA' }],
  ]) {
    const ask = (id) => JSON.stringify({ interface: { interfaceName, para: { id, skey: hex(), ...data } } });
    same = report(name, await measure(server.port, ids, pairs, ask)) && same;
  }
  await Promise.all([server.stop(), simulator.stop()]);
  return same;
}

function parse() {
  try {
    const { values } = parseArgs({
      options: { binary: { type: 'string' }, pairs: { type: 'string', default: '1000' }, help: { type: 'boolean' } },
    });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    const pairs = Number(values.pairs);
    if (!Number.isInteger(pairs) || pairs < 100) throw new Error('`--pairs` is no number from 100 up');
    return { pairs, binary: resolve(values.binary ?? join(PROJECT, 'target', 'release', 'mina-auth')) };
  } catch (error) {
    console.error(`timing: ${error.message}\n${USAGE}`);
    process.exit(2);
  }
}

/** Logs a new user in and returns the id of the session. */
async function logIn(port, wechatPort) {
  const phone = await fetch(`http://127.0.0.1:${wechatPort}/sim/login`, { method: 'POST' });
  const { code, encryptedData, iv } = await phone.json();
  const answer = await probe(port, login(code, { encrypted: encryptedData, iv }));
  const { returnCode, returnMessage, returnData } = JSON.parse(answer.text);
  if (returnCode !== 0) throw new Error(`a login failed: ${returnMessage}`);
  return returnData.id;
}

/** The fastest refusal of each id in milliseconds, by kind. */
async function measure(port, ids, pairs, ask) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true }).setEncoding('latin1');
  await once(socket, 'connect');
  const times = KINDS.map(() => []);
  for (let pair = 0; pair < pairs; pair += 1) {
    const questions = [ask(ids[pair % ids.length]), ask(hex())];
    const fastest = [Infinity, Infinity];
    for (let question = 0; question < QUESTIONS; question += 1) {
      for (const kind of Math.random() < 0.5 ? [0, 1] : [1, 0]) {
        // Else all would come at the same moment between two ticks of the server's timer.
        await sleep(Math.random() * 3);
        fastest[kind] = Math.min(fastest[kind], await refusal(socket, questions[kind]));
      }
    }
    fastest.forEach((time, kind) => times[kind].push(time));
  }
  socket.destroy();
  return times;
}

async function refusal(socket, body) {
  const request = `POST /mina_auth/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const asked = performance.now();
  socket.write(request);
  const [answer] = await once(socket, 'data', { signal: AbortSignal.timeout(10_000) });
  const took = performance.now() - asked;
  if (!answer.includes('unknown id or wrong skey')) throw new Error(`not refused: ${answer}`);
  return took;
}

/** Prints what was measured; tells whether the kinds cannot be told apart. */
function report(name, times) {
  console.log(`\n${name}, ms      10 %   median     90 %        n`);
  times.forEach((kind, at) => {
    const ordered = [...kind].sort((a, b) => a - b);
    const quantiles = [0.1, 0.5, 0.9].map((q) => ordered[Math.floor(q * ordered.length)].toFixed(4).padStart(9));
    console.log(`${KINDS[at].padEnd(11)} ${quantiles.join('')} ${String(kind.length).padStart(8)}`);
  });
  const z = rankSum(...times);
  const same = Math.abs(z) < THRESHOLD;
  console.log(`${same ? 'pass' : 'FAIL'}: they differ by ${z.toFixed(2)} standard deviations, `
    + `${THRESHOLD} is the threshold`);
  return same;
}

/** How far the ranks of `a` among all are from those of `b`, in standard deviations. */
function rankSum(a, b) {
  const all = [...a.map((time) => [time, 1]), ...b.map((time) => [time, 0])].sort(([x], [y]) => x - y);
  const sum = all.reduce((ranks, [, ofA], at) => ranks + ofA * (at + 1), 0);
  const expected = a.length * (all.length + 1) / 2;
  return (sum - expected) / Math.sqrt(expected * b.length / 6);
}

/** 128 random bits as ids and skeys are written. */
function hex() {
  return randomBytes(16).toString('hex');
}

main().then((same) => process.exit(same ? 0 : 1), (error) => {
  console.error(`timing: ${error.message}`);
  process.exit(1);
});
