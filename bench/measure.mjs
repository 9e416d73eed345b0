// One measurement of one server, and what makes several of them one number.

import { readFileSync, readdirSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';

import { run, runningPids } from './processes.mjs';

/** How many connections requests are sent on. */
export const CONNECTIONS = 64;
const REQUESTS = fileURLToPath(new URL('requests.lua', import.meta.url));
const FLOOD = fileURLToPath(new URL('flood.mjs', import.meta.url));

const TICKS = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** CPU seconds that processes have used, all their threads together. */
function cpuSeconds(pids) {
  return pids.reduce((sum, pid) => sum + times(`/proc/${pid}/stat`, 11, 13), 0);
}

/** CPU seconds of the benchmark: this process, those it has waited for, and those that run. */
function ownCpuSeconds() {
  const servers = runningPids();
  return times('/proc/self/stat', 11, 15) + cpuSeconds([...servers, ...servers.flatMap(children)]);
}

function times(file, first, end) {
  // The second field, the name, may hold spaces; it ends with the last parenthesis.
  const fields = readFileSync(file, 'utf8').split(') ').at(-1).split(' ');
  return fields.slice(first, end).reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS;
}

/** CPU seconds that all processes have used on these CPUs, and those that the host took. */
function busySeconds(cpus) {
  const lines = readFileSync('/proc/stat', 'utf8').split('\n');
  return cpus.reduce((sum, cpu) => {
    const [user, nice, system, , , irq, softirq, steal] =
      lines.find((line) => line.startsWith(`cpu${cpu} `)).trim().split(/\s+/).slice(1).map(Number);
    return sum + (user + nice + system + irq + softirq + steal) / TICKS;
  }, 0);
}

/** The process ids of a process's children. */
export function children(pid) {
  return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number));
}

/** Bytes of memory that a process holds (`VmRSS`), or held at its peak (`VmHWM`). */
export function memory(pid, field = 'VmRSS') {
  return Number(new RegExp(`${field}:\\s*(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;
}

/** Waits until a server does nothing any more, a minute at the most. */
export async function settle(server) {
  for (let i = 0; i < 60; i += 1) {
    const before = cpuSeconds(server.pids());
    await sleep(1000);
    if (cpuSeconds(server.pids()) - before <= 0.02) return;
  }
}

/** Measures servers on these CPUs. */
export class Meter {
  /** The share of the CPUs that other processes took, for every run so far. */
  others = [];

  constructor(cpus) {
    this.cpus = cpus;
  }

  /**
   * Sends requests as fast as they are answered. `answerBytes` is what a right answer takes on the
   * wire: failures are HTTP 200 too, but not as long.
   */
  async wrk(server, { kind, close = false, answerBytes, seconds }) {
    const args = [
      '-t2', `-c${CONNECTIONS}`, `-d${seconds}s`, '-s', REQUESTS, ...(close ? ['-H', 'Connection: close'] : []),
      `http://127.0.0.1:${server.port}/mina_auth/`, '--', ...kind.map(String),
    ];
    return this.#measure(server, () => run('wrk', args, { seconds: seconds + 30 }), answerBytes);
  }

  /** Sends a request again and again over the server's Unix socket. */
  async flood(server, { request, answerBytes, seconds }) {
    const args = [FLOOD, server.socket, CONNECTIONS, seconds, request].map(String);
    return this.#measure(server, () => run(process.execPath, args, { seconds: seconds + 30 }), answerBytes);
  }

  /** Runs a load, which prints its outcome as one line of JSON, and counts the server's CPU meanwhile. */
  async #measure(server, load, answerBytes) {
    const pids = server.pids();
    const before = { wall: performance.now(), cpu: cpuSeconds(pids), own: ownCpuSeconds(), busy: busySeconds(this.cpus) };
    const output = await load();
    const cpu = cpuSeconds(pids) - before.cpu;
    const own = ownCpuSeconds() - before.own;
    const wall = (performance.now() - before.wall) / 1000;
    const others = (busySeconds(this.cpus) - before.busy - own) / (wall * this.cpus.length);
    this.others.push(Math.max(0, others));

    const { requests, micros, bytes, p99, errors } = JSON.parse(output.trim().split('\n').at(-1));
    if (errors > 0) throw new Error(`${errors} of ${requests} requests failed`);
    const each = bytes / requests;
    if (Math.abs(each / answerBytes - 1) > 0.01) {
      throw new Error(`answers have ${each.toFixed(0)} bytes, right ones ${answerBytes}`);
    }
    return { rate: requests / (micros / 1e6), cpuMicros: cpu / requests * 1e6, p99Millis: p99 / 1000 };
  }

  /** GETs a second of Redis, as its own benchmark counts them. */
  async redis(server, seconds) {
    const REQUESTS_A_SECOND = 70_000;
    const args = ['-p', server.port, '-t', 'get', '-c', CONNECTIONS, '-n', REQUESTS_A_SECOND * seconds, '--csv'];
    const output = await run('redis-benchmark', args.map(String), { seconds: 10 * seconds + 30 });
    return Number(/^"GET","([\d.]+)"/m.exec(output)[1]);
  }
}

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
