// Processes of the benchmark and its directory: whatever way the benchmark ends, none of them
// is left.

import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const STOP_LIMIT_MS = 60_000;

const running = new Set();

// The developer's own settings must not leak into the servers under test; Debian keeps servers
// in /usr/sbin, which is not on every user's path.
const ENV = {
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MINA_AUTH_'))),
  PATH: `${process.env.PATH}:/usr/sbin:/sbin`,
};

/** Makes a directory below `parent` that is removed, with all processes, when this one exits. */
export function workDirectory(parent) {
  mkdirSync(parent, { recursive: true });
  const dir = mkdtempSync(join(parent, 'bench-'));
  process.on('exit', () => {
    for (const child of running) kill(child, 'SIGKILL');
    rmSync(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  });
  // A signal alone would not run the exit listener.
  for (const [signal, number] of [['SIGINT', 2], ['SIGTERM', 15], ['SIGHUP', 1]]) {
    process.once(signal, () => process.exit(128 + number));
  }
  return dir;
}

/** Puts this process, and so all it starts, on the first two CPUs it may use; returns their numbers. */
export function useTwoCpus() {
  const allowed = /Cpus_allowed_list:\s*(\S+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1];
  const cpus = allowed.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  }).slice(0, 2);
  execFileSync('taskset', ['-acp', cpus.join(','), String(process.pid)], { env: ENV });
  return cpus;
}

/** Starts a process that runs until it is stopped. */
export function start(command, args, { cwd, stderr = 'ignore' } = {}) {
  // A process group of its own, so that children (the workers of nginx) end with it.
  const child = spawn(command, args, { cwd, env: ENV, detached: true, stdio: ['ignore', 'ignore', stderr] });
  running.add(child);
  let end;
  const ended = new Promise((resolve) => {
    child.once('error', (error) => resolve(end = error.message));
    child.once('exit', (code, signal) => resolve(end = `it ended with ${signal ?? code}`));
  });
  ended.then(() => running.delete(child));
  return {
    pid: child.pid,
    /** Why it is not running any more, if so. */
    end: () => end,
    stop: async () => {
      kill(child, 'SIGTERM');
      const late = await Promise.race([ended, sleep(STOP_LIMIT_MS, 'late', { ref: false })]);
      kill(child, 'SIGKILL');
      await ended;
      if (late === 'late') throw new Error(`${command} did not stop within ${STOP_LIMIT_MS / 1000} s`);
    },
  };
}

/** Runs a command to its end, and returns its stdout; `input` is its stdin. */
export async function run(command, args, { cwd, input = '', seconds = 60 } = {}) {
  const child = spawn(command, args, { cwd, env: ENV, detached: true });
  running.add(child);
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr']) {
    child[stream].setEncoding('utf8').on('data', (text) => { output[stream] += text; });
  }
  child.stdin.on('error', () => {}).end(input);
  const limit = setTimeout(() => kill(child, 'SIGKILL'), seconds * 1000);
  try {
    await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => {
        if (code === 0) return resolve();
        const said = (output.stderr || output.stdout).trim().split('\n').slice(-5).join('\n');
        reject(new Error(`${command} ${args[0] ?? ''} ended with ${signal ?? code}: ${said}`));
      });
    });
    return output.stdout;
  } finally {
    clearTimeout(limit);
    running.delete(child);
  }
}

/** A port of the loopback interface that was free a moment ago. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject).listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** The process ids of what was started and still runs. */
export function runningPids() {
  return [...running].map((child) => child.pid);
}

function kill(child, signal) {
  try {
    // Without a pid it was never started.
    if (child.pid) process.kill(-child.pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}
