// Starts and stops the programs under test: `mina-auth simulate` and `mina-auth serve`.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const BINARY = resolve(process.env.MINA_AUTH_BIN
  ?? fileURLToPath(new URL('../../target/debug/mina-auth', import.meta.url)));

const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 60_000;
const COMMAND_LIMIT_MS = 60_000;

export const APP = 'wx0123456789abcdef';
export const OTHER_APP = 'wxfedcba9876543210';
const SECRET = '0123456789abcdef0123456789abcdef';

// The developer's own settings must not leak into the servers under test.
const ENV = {
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MINA_AUTH_'))),
  MINA_AUTH__LOG__FORMAT: 'json',
};

// Interrupted tests clean up too: a signal alone would not run the exit listeners.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

/**
 * Runs both servers on free ports in a directory of their own; `settings` is TOML for `serve`, `server` and `admin`
 * what goes into the sections of these names, and `listen` where it listens besides.
 */
export async function startServers({ settings = '', server = '', admin = '', listen = [] } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'mina-auth-clients-'));
  // On exit as well as in `stop`: a failed start or a crashed test leaves nothing behind.
  const removeDir = () => rmSync(dir, { recursive: true, force: true });
  process.once('exit', removeDir);

  const apps = [APP, OTHER_APP];
  const simulator = await launch(dir, 'simulator', [
    'simulate', '--listen', '127.0.0.1:0', ...apps.flatMap((app) => ['--app', `${app}=${SECRET}`]),
  ]);

  const config = join(dir, 'mina-auth.toml');
  writeFileSync(config, `
[server]
listen = ${JSON.stringify(['127.0.0.1:0', ...listen])}
${server}

[storage]
url = "sqlite:${join(dir, 'x.db')}"

[wechat]
base_url = "http://${simulator.address}"

[admin]
listen = "127.0.0.1:0"
${admin}

[[apps]]
appid = "${APP}"
secret = "${SECRET}"
default = true

[[apps]]
appid = "${OTHER_APP}"
secret = "${SECRET}"

${settings}
`);

  // The last of its listeners.
  let auth = await launch(dir, 'admin', ['serve', '--config', config]);

  const simulate = async (path, body) => {
    const answer = await fetch(`http://${simulator.address}${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
    assert.ok(answer.ok, `${path}: HTTP ${answer.status}`);
    return answer;
  };

  return {
    /** The session server's URL for `config.AuthServerUrl`; it changes when the server restarts. */
    authUrl: (app = '') => `http://${auth.address}/mina_auth/${app}`,

    /** The address of the admin listener; it changes as well. */
    admin: () => auth.admin,

    /** The simulator's address. */
    simulator: simulator.address,

    /** What `wx.login` and `wx.getUserInfo` would give on this person's phone. */
    wxLogin: async (person = {}) => (await simulate('/sim/login', person)).json(),

    /** What the phone button gives on this person's phone. */
    pressPhoneButton: async (person) => (await (await simulate('/sim/phone', person)).json()).code,

    /** Makes the simulated WeChat slow, busy or down; `{}` heals it. */
    faults: (faults) => simulate('/sim/faults', faults),

    /** Runs a command of the operator, with the configuration of the running server. */
    command: (...args) =>
      promisify(execFile)(BINARY, [...args, '--config', config], { cwd: dir, env: ENV, timeout: COMMAND_LIMIT_MS }),

    stopAuth: () => auth.stop(),
    startAuth: async () => {
      auth = await launch(dir, 'admin', ['serve', '--config', config]);
    },

    stop: async () => {
      try {
        await auth.stop();
      } finally {
        await simulator.stop();
        removeDir();
        process.removeListener('exit', removeDir);
      }
    },
  };
}

/** Starts `mina-auth dev` on free ports; `link` opens its console logged in. */
export async function startDev() {
  const dir = mkdtempSync(join(tmpdir(), 'mina-auth-dev-test-'));
  const any = '127.0.0.1:0';
  const dev = await launch(dir, 'admin', ['dev', '--listen', any, '--simulator-listen', any, '--admin-listen', any]);
  const link = dev.said().match(/http:\S+\?token=(\w+)/);
  assert.ok(link, dev.said());
  return {
    link: link[0],
    token: link[1],
    console: `http://${dev.admin}`,
    stop: async () => {
      await dev.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Starts one process and returns once it has logged the address of `listener`. */
async function launch(cwd, listener, args) {
  const child = spawn(BINARY, args, { cwd, env: ENV, stdio: ['ignore', 'pipe', 'pipe'] });
  // A server that a failed test left running must not keep the tests from ending, and ends with them.
  child.unref();
  child.stderr.unref();
  child.stdout.unref();
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { said += text; });
  const killAtExit = () => child.kill('SIGKILL');
  process.prependOnceListener('exit', killAtExit);

  const log = [];
  const addresses = {};
  const listening = new Promise((found) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      log.push(line);
      const event = parse(line);
      if (event?.message !== 'listening') return;
      addresses[event.listener] ??= event.address;
      if (event.listener === listener) found();
    });
  });
  const failure = (what) => new Error(`mina-auth ${args[0]} ${what}\n${log.slice(-20).join('\n')}`);

  // `close` comes after `exit`, when the last line of the log has been read.
  const ended = once(child, 'close').then(([code, signal]) => {
    process.removeListener('exit', killAtExit);
    return code ?? signal;
  });
  const startFailed = ended.then(
    (status) => { throw failure(`ended with ${status} before it listened`); },
    (cause) => { throw new Error(`cannot run ${BINARY}: build it or set MINA_AUTH_BIN`, { cause }); },
  );

  const started = Promise.race([listening, startFailed]);
  await within(START_LIMIT_MS, started, () => failure('did not listen in time'));

  return {
    address: addresses.protocol ?? addresses[listener],
    admin: addresses.admin,

    /** What it has said to who started it. */
    said: () => said,

    /** Asks the process to end, and checks that it does so in time and cleanly; a second call does nothing more. */
    stop: async () => {
      child.kill('SIGTERM');
      const status = await within(STOP_LIMIT_MS, ended, () => failure('did not end in time'));
      if (status !== 0) throw failure(`ended with ${status}`);
    },
  };
}

function parse(line) {
  try {
    return JSON.parse(line);
  } catch {
    return null; // no log event: a panic, for one
  }
}

async function within(milliseconds, promise, failure) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(failure()), milliseconds);
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}
