// packaging/prometheus and packaging/grafana, with the real Prometheus and a real server.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { APP, OTHER_APP, startServers } from './servers.js';

const run = promisify(execFile);
const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const RULES = join(PROJECT, 'packaging/prometheus/alerts.yml');
const LIMIT_MS = 120_000;
const WRONG_APP = 'wxaaaaaaaaaaaaaaaa';

const rules = readFileSync(RULES, 'utf8');
const alerts = [...rules.matchAll(/- alert: (\w+)/g)].map(([, name]) => name);

test('promtool takes the rules, and each alarm comes when it must', async () => {
  await run('promtool', ['check', 'rules', RULES]);
  const tests = join(PROJECT, 'packaging/prometheus/alerts.test.yml');
  await run('promtool', ['test', 'rules', tests]);
  const tested = readFileSync(tests, 'utf8');
  for (const name of alerts) assert.match(tested, new RegExp(`alertname: ${name}\n`), name);
});

test('the operator finds what to do about each alarm', () => {
  const headings = [...readFileSync(join(PROJECT, 'docs/operations.md'), 'utf8').matchAll(/^#+ (.*)$/gm)];
  const anchors = headings.map(([, heading]) => heading.toLowerCase());
  for (const [, anchor] of rules.matchAll(/runbook_url: docs\/operations\.md#(\w+)/g)) assert.ok(anchors.includes(anchor), anchor);
  assert.equal([...rules.matchAll(/runbook_url/g)].length, alerts.length);
});

describe('a Prometheus that scrapes a server', () => {
  let servers, prometheus;
  const dir = mkdtempSync(join(tmpdir(), 'mina-auth-prometheus-'));

  before(async () => {
    await run('openssl', [
      'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30', '-subj', '/CN=localhost',
      '-keyout', join(dir, 'key.pem'), '-out', join(dir, 'cert.pem'),
    ]);
    servers = await startServers({
      admin: `tls_cert = "${dir}/cert.pem"\ntls_key = "${dir}/key.pem"\ntoken = "a-token-of-the-admin"`,
      settings: `[limits]\nrequests = 1\nconnections_per_address = 12\n
[[apps]]\nappid = "${WRONG_APP}"\nsecret = "0123456789abcdef0123456789abcdef"`,
    });
    prometheus = await startPrometheus(dir, servers.admin());
  });
  after(async () => {
    await prometheus?.stop();
    await servers?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test('every query of the rules and of the dashboard gives data', async () => {
    const missing = new Set(queries());
    assert.ok(missing.size > 30, `${missing.size} queries`);
    for (const until = Date.now() + LIMIT_MS; missing.size > 0; await sleep(500)) {
      assert.ok(Date.now() < until, `no data for\n${[...missing].join('\n')}`);
      await traffic(servers);
      for (const query of missing) if (await prometheus.gives(query)) missing.delete(query);
    }
  });
});

/** What the rules compare, without the comparison, and what the panels show. */
function* queries() {
  for (const [, lines, line] of rules.matchAll(/^ +expr: (?:\|\n((?: {10,}.*\n)+)|(.*)$)/gm)) {
    const expr = (lines ?? line).replace(/\s+/g, ' ').trim();
    for (const side of cutAt(/^ or /, expr)) yield cutAt(/^ (?:==|<|>) /, side)[0];
  }
  const dashboard = JSON.parse(readFileSync(join(PROJECT, 'packaging/grafana/mina-auth.json'), 'utf8'));
  for (const { targets = [] } of dashboard.panels) {
    for (const { expr } of targets) yield expr.replaceAll('$__rate_interval', '1m').replaceAll('$app', '.*');
  }
}

/** The parts of an expression between these words, where they stand in no parentheses. */
function cutAt(words, expr) {
  const parts = [''];
  let depth = 0;
  for (let at = 0; at < expr.length; at += 1) {
    depth += { '(': 1, ')': -1 }[expr[at]] ?? 0;
    const word = depth === 0 && words.exec(expr.slice(at))?.[0];
    if (word) {
      parts.push('');
      at += word.length - 1;
    } else {
      parts[parts.length - 1] += expr[at];
    }
  }
  return parts;
}

/** A little of everything: what succeeds, what fails, and what is turned away. */
async function traffic(servers) {
  const url = servers.authUrl();
  const call = async (name, para) => {
    const body = JSON.stringify({ version: 1, componentName: 'MA', interface: { interfaceName: `qcloud.cam.${name}`, para } });
    return (await fetch(url, { method: 'POST', body })).json();
  };
  const login = async (app) => call('id_skey', { appid: app, code: (await servers.wxLogin({ appid: app })).code });
  const { returnData: { id, skey } } = await login(APP);
  await call('auth', { id, skey });
  await call('auth', { id, skey: 'wrong' });
  await login(OTHER_APP);
  await call('id_skey', { appid: WRONG_APP, code: 'of nobody' });
  await call('id_skey', { code: 'of nobody' });

  // WeChat is slow: a login takes the only place, and whoever else must wait is refused.
  await servers.faults({ latency_ms: 300 });
  const slow = login(APP);
  await sleep(100);
  await Promise.all([call('auth', { id: 'unknown', skey: 'unknown' }), login(APP)]);
  await slow;
  await servers.faults({ status: 502 });
  await login(APP);
  await servers.faults({});

  const { hostname, port } = new URL(url);
  const sockets = Array.from({ length: 14 }, () => connect(Number(port), hostname).on('error', () => {}));
  await sleep(50);
  for (const socket of sockets) socket.destroy();
  await sleep(50);
}

async function startPrometheus(dir, admin) {
  const port = await freePort();
  const config = join(dir, 'prometheus.yml');
  writeFileSync(config, `
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: ["${RULES}"]
scrape_configs:
  - job_name: mina-auth
    scheme: https
    tls_config: { insecure_skip_verify: true }
    authorization: { credentials: a-token-of-the-admin }
    static_configs: [{ targets: ["${admin}"] }]
`);
  const args = [`--config.file=${config}`, `--storage.tsdb.path=${join(dir, 'data')}`, `--web.listen-address=127.0.0.1:${port}`];
  const child = spawn('prometheus', [...args, '--log.level=warn'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const log = [];
  child.stderr.setEncoding('utf8').on('data', (text) => log.push(text));
  const killed = () => child.kill('SIGKILL');
  process.once('exit', killed);
  const ended = once(child, 'exit');
  const ask = async (path) => {
    try {
      return await fetch(`http://127.0.0.1:${port}${path}`);
    } catch {
      return { ok: false };
    }
  };
  for (const until = Date.now() + LIMIT_MS; !(await ask('/-/ready')).ok; await sleep(100)) {
    assert.ok(Date.now() < until && child.exitCode === null, `Prometheus did not start:\n${log.join('')}`);
  }
  return {
    /** Tells whether a query has a number as its answer. */
    gives: async (query) => {
      const answer = await ask(`/api/v1/query?query=${encodeURIComponent(query)}`);
      const { status, error, data } = await answer.json();
      assert.equal(status, 'success', `${query}: ${error}`);
      return data.result.some(({ value: [, number] }) => Number.isFinite(Number(number)));
    },
    stop: async () => {
      process.removeListener('exit', killed);
      child.kill('SIGTERM');
      await ended;
    },
  };
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
