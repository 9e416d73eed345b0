// The servers that are measured and those they are measured against, each on a free port of the
// loopback interface.

import { createCipheriv } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { children } from './measure.mjs';
import { freePort, run, start } from './processes.mjs';

const START_LIMIT_MS = 60_000;

export const APP = 'wx0123456789abcdef';
const SECRET = '0123456789abcdef0123456789abcdef';

// What nginx says as WeChat, for every code: the code is the openid.
export const SESSION_KEY = Buffer.alloc(16, 'k').toString('base64');

const PROFILE_BYTES = 350;

/** The profile of a user who showed none. */
export const MINIMAL =
  '{"openId":"OPENID","nickName":"","gender":0,"language":"","city":"","province":"","country":"","avatarUrl":""}';

/** A profile as JSON, of 350 bytes with an openid of 28, or of what it takes to grow to them. */
export function profile(openId) {
  const person = {
    ...(openId && { openId }),
    nickName: 'Bench', gender: 1, language: 'zh_CN', city: 'Shenzhen', province: 'Guangdong', country: 'China',
    avatarUrl: 'https://thirdwx.qlogo.cn/mmopen/vi_32/',
    watermark: { timestamp: 1700000000, appid: APP },
  };
  const openIdBytes = openId ? 0 : '"openId":"",'.length + 28;
  person.avatarUrl += 'a'.repeat(PROFILE_BYTES - openIdBytes - JSON.stringify(person).length);
  return JSON.stringify(person);
}

/** The user data of a login, encrypted as WeChat does; it names no openid, so it suits everyone. */
export function userData() {
  const iv = Buffer.alloc(16, 'i');
  const cipher = createCipheriv('aes-128-cbc', Buffer.from(SESSION_KEY, 'base64'), iv);
  const encrypted = Buffer.concat([cipher.update(profile()), cipher.final()]);
  return { encrypted: encrypted.toString('base64'), iv: iv.toString('base64') };
}

/** Writes a configuration: the defaults, but for addresses, the store, the app and what `cache` says. */
export function configure(dir, { storage, port = 0, socket, wechatPort = 9, cacheBytes }) {
  const file = join(mkdtempSync(join(dir, 'config-')), 'mina-auth.toml');
  writeFileSync(file, `
[server]
listen = ["127.0.0.1:${port}"${socket ? `, "unix:${socket}"` : ''}]
[storage]
url = "${storage}"
[wechat]
base_url = "http://127.0.0.1:${wechatPort}"
[admin]
listen = "127.0.0.1:0"
${cacheBytes ? `[cache]\nmax_bytes = ${cacheBytes}` : ''}
[[apps]]
appid = "${APP}"
secret = "${SECRET}"
`);
  return file;
}

/** Starts `mina-auth serve`; it listens when this resolves. */
export async function startMinaAuth(binary, dir, options) {
  const port = await freePort();
  const args = ['serve', '--config', configure(dir, { ...options, port })];
  const started = performance.now();
  // The log is written as on any server, to where it costs no disk.
  const server = start(binary, args, { cwd: dir });
  try {
    await listening(port, server);
  } catch (error) {
    await server.stop();
    // Once more, to hear why.
    const reason = await run(binary, args, { cwd: dir, seconds: 5 }).catch((told) => told.message);
    throw new Error(`${error.message}; ${reason}`);
  }
  return { ...server, port, socket: options.socket, started, pids: () => [server.pid] };
}

/** What nginx answers: a constant, or as WeChat does, to whom every code is good. */
export const CONSTANT = (text) => `default_type "application/json; charset=utf-8"; return 200 '${text}';`;
export const WECHAT =
  `default_type text/plain; return 200 '{"session_key":"${SESSION_KEY}","openid":"$arg_js_code"}';`;

/** What it answers with these headers and no body. */
export const HEADERS = (headers) =>
  `${headers.map(([name, value]) => `add_header ${name} "${value}";`).join(' ')} return 200;`;

/** An image for those whom another server vouches for, asked as docs/gateway.md has it. */
export const BEHIND = `auth_request /vouch; auth_request_set $openid $upstream_http_x_wx_openid;
      add_header X-Openid $openid; empty_gif;`;
const VOUCHING = `location = /vouch {
      internal;
      proxy_pass http://vouching/v1/forward-auth;
      proxy_method HEAD;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }`;

/** Starts nginx, tuned to do nothing but answer; `socket` is one that it listens on too. */
export async function startNginx(dir, answer, { vouchingPort } = {}) {
  const port = await freePort();
  const prefix = mkdtempSync(join(dir, 'nginx-'));
  const socket = join(prefix, 'socket');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${prefix}/${name};`).join(' ');
  writeFileSync(join(prefix, 'nginx.conf'), `
daemon off;
worker_processes 2;
pid ${prefix}/nginx.pid;
events { worker_connections 4096; }
http {
  access_log off;
  ${temporary}
  keepalive_timeout 90s;
  keepalive_requests 1000000000;
  ${vouchingPort ? `upstream vouching { server 127.0.0.1:${vouchingPort}; keepalive 64; keepalive_requests 1000000000; }` : ''}
  server {
    listen 127.0.0.1:${port} backlog=4096;
    listen unix:${socket} backlog=4096;
    location / { ${answer} }
    ${vouchingPort ? VOUCHING : ''}
  }
}
`);
  const server = start('nginx', ['-p', prefix, '-c', join(prefix, 'nginx.conf'), '-e', join(prefix, 'error.log')]);
  await listening(port, server);
  return { ...server, port, socket, pids: () => children(server.pid) };
}

/** Starts Redis, which keeps nothing on disk. */
export async function startRedis(dir) {
  const port = await freePort();
  const args = ['--bind', '127.0.0.1', '--port', port, '--save', '', '--appendonly', 'no', '--dir', dir];
  const server = start('redis-server', args.map(String));
  await listening(port, server);
  return { ...server, port };
}

/** Starts MariaDB with an empty database; `url` is its `storage.url`. */
export async function startMariadb(dir) {
  const port = await freePort();
  const prefix = mkdtempSync(join(dir, 'mariadb-'));
  const data = join(prefix, 'data'), socket = join(prefix, 'socket');
  const user = process.getuid() === 0 ? ['--user=root'] : [];
  await run('mariadb-install-db', [
    '--no-defaults', ...user, `--datadir=${data}`, `--tmpdir=${prefix}`, '--auth-root-authentication-method=normal', '--skip-test-db',
  ], { seconds: 120 });
  const server = start('mariadbd', [
    '--no-defaults', ...user, `--datadir=${data}`, `--tmpdir=${prefix}`, `--socket=${socket}`, `--pid-file=${prefix}/pid`,
    '--bind-address=127.0.0.1', `--port=${port}`, '--innodb-flush-log-at-trx-commit=1',
  ]);
  await listening(port, server);
  await run('mariadb', ['--no-defaults', `--socket=${socket}`, '--user=root'], {
    input: `CREATE DATABASE mina_auth CHARACTER SET utf8mb4;
      CREATE USER bench@'127.0.0.1' IDENTIFIED BY 'bench'; GRANT ALL ON mina_auth.* TO bench@'127.0.0.1';`,
  });
  return { ...server, url: `mysql://bench:bench@127.0.0.1:${port}/mina_auth` };
}

async function listening(port, server) {
  for (const until = performance.now() + START_LIMIT_MS; performance.now() < until; await sleep(1)) {
    if (server.end()) throw new Error(`a server did not start: ${server.end()}`);
    if (await accepts(port)) return;
  }
  throw new Error(`a server did not listen within ${START_LIMIT_MS / 1000} s`);
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true); });
    socket.once('error', () => resolve(false));
  });
}
