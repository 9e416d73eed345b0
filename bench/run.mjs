#!/usr/bin/env node
// `make bench`: measures mina-auth against its targets, side by side with nginx and Redis.

import { closeSync, fdatasyncSync, mkdirSync, openSync, statfsSync, writeFileSync, writeSync } from 'node:fs';
import os from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { Meter, median } from './measure.mjs';
import { run, useTwoCpus, workDirectory } from './processes.mjs';
import { chart, json, table, verdict } from './report.mjs';
import { NotBuilt, SCENARIOS } from './scenarios.mjs';
import { fillStore } from './store.mjs';
import { ROWS } from './targets.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const PROJECT = dirname(HERE);
const RESULTS = join(HERE, 'results');

const USAGE = `usage: bench/run.mjs [--quick] [--only ROW,…] [--binary PATH]

  --quick        two minutes, with smaller stores and fewer rounds, instead of thirty
  --only ROW,…   these rows: ${ROWS.map((row) => row.name).join(' ')}
  --binary PATH  measure this binary instead of building one`;

const MODES = {
  quick: { rounds: 3, seconds: 2, sizes: { cached: 300_000, minimal: 1_000_000, stored: 1_000_000 }, diskGB: 3 },
  full: { rounds: 9, seconds: 8, sizes: { cached: 1_000_000, minimal: 1_000_000, stored: 10_000_000 }, diskGB: 15 },
};

// A scenario that hangs must not hang the whole.
const LIMIT_MINUTES = 90;

async function main() {
  const options = parse();
  const mode = options.quick ? 'quick' : 'full';
  const { rounds, seconds, sizes, diskGB } = MODES[mode];
  const wanted = (name) => !options.only || options.only.includes(name);

  await run(join(HERE, 'setup.sh'), [], { seconds: 600 });
  const binary = resolve(options.binary ?? await build());
  const loadBefore = os.loadavg()[0];
  const cpus = useTwoCpus();
  // Not in the system's temporary directory: that may be memory, where fsync costs nothing.
  const dir = workDirectory(join(PROJECT, 'target'));
  const free = statfsSync(dir);
  if (free.bavail * free.bsize < diskGB * 1e9) throw new Error(`\`target\` needs ${diskGB} GB of free disk`);
  setTimeout(() => fail(new Error(`not done after ${LIMIT_MINUTES} minutes`)), LIMIT_MINUTES * 60_000).unref();

  const meter = new Meter(cpus);
  const stores = new Map();
  let runs = 0;
  const bench = {
    binary, dir, meter, rounds, seconds, sizes, wanted,
    /** A number of its own for each run, so that no two make the same users. */
    nextRun: () => (runs += 1),
    /** A store of that many sessions, made when it is first wanted. */
    store: (count, profiles = 'shown') => {
      const key = `${count} ${profiles}`;
      if (!stores.has(key)) {
        say(`filling a store: ${count} sessions, profiles ${profiles}`);
        stores.set(key, fillStore(binary, dir, count, profiles));
      }
      return stores.get(key);
    },
  };
  const facts = await describe(bench, { mode, cpus, loadBefore });

  const results = new Map();
  for (const { rows, measure } of SCENARIOS.filter(({ rows }) => rows.some(wanted))) {
    say(`measuring ${rows.filter(wanted).join(', ')}`);
    try {
      for (const [name, measured] of Object.entries(await measure(bench))) {
        results.set(name, verdict(ROWS.find((row) => row.name === name), measured));
      }
    } catch (error) {
      const status = error instanceof NotBuilt ? 'not built' : 'FAILED';
      for (const name of rows) results.set(name, { status, reason: error.message });
    }
  }
  facts.othersCpuShare = meter.others.length ? median(meter.others) : undefined;

  const shown = ROWS.filter((row) => wanted(row.name)).map((row) => ({ row, result: results.get(row.name) }));
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(join(RESULTS, 'latest.json'), json(shown, sizes, facts));
  writeFileSync(join(RESULTS, 'latest.svg'), chart(shown, sizes, facts));
  console.log(table(shown, sizes));
  if (facts.othersCpuShare > 0.05) {
    say(`other processes took ${(facts.othersCpuShare * 100).toFixed(0)} % of the CPUs: rates and latencies say little`);
  }
  return shown.every(({ result }) => ['pass', 'not built'].includes(result.status));
}

function parse() {
  try {
    const { values } = parseArgs({
      options: { quick: { type: 'boolean' }, only: { type: 'string' }, binary: { type: 'string' }, help: { type: 'boolean' } },
    });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    const only = values.only?.split(',');
    const unknown = only?.find((name) => !ROWS.some((row) => row.name === name));
    if (unknown !== undefined) throw new Error(`no row is named \`${unknown}\``);
    return { ...values, only };
  } catch (error) {
    console.error(`bench: ${error.message}\n${USAGE}`);
    process.exit(2);
  }
}

async function build() {
  say('building');
  await run('cargo', ['build', '--release', '--locked'], { cwd: PROJECT, seconds: 1800 });
  return join(PROJECT, 'target', 'release', 'mina-auth');
}

/** What the numbers depend on beside the code. */
async function describe({ binary, dir }, { mode, cpus, loadBefore }) {
  const version = async (command, ...args) => (await run(command, args)).trim().split('\n')[0];
  const [{ model }] = os.cpus();
  return {
    date: new Date().toISOString(),
    mode,
    machine: {
      cpu: model.trim(), cpus, memoryGiB: Math.round(os.totalmem() / 2 ** 30), kernel: os.release(),
      fsyncMicros: Math.round(fsyncMicros(dir)), loadBefore,
    },
    versions: {
      'mina-auth': await version(binary, '--version'),
      nginx: await version('sh', '-c', 'nginx -v 2>&1'),
      wrk: await version('sh', '-c', 'wrk -v 2>&1 | head -1'),
      redis: await version('redis-server', '--version'),
      mariadb: await version('mariadbd', '--version'),
      node: process.version,
    },
  };
}

/** How long this disk takes to keep 4 KiB: the floor of every login. */
function fsyncMicros(dir) {
  const file = openSync(join(dir, 'fsync'), 'w');
  const page = Buffer.alloc(4096, 1);
  const times = Array.from({ length: 200 }, () => {
    const started = performance.now();
    writeSync(file, page);
    fdatasyncSync(file);
    return (performance.now() - started) * 1000;
  });
  closeSync(file);
  return median(times);
}

function say(text) {
  console.error(`bench: ${text}`);
}

function fail(error) {
  say(error.message);
  process.exit(1);
}

main().then((reached) => process.exit(reached ? 0 : 1), fail);
