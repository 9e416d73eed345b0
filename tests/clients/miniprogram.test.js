// clients/miniprogram against the real server, behind a gateway that asks for forward auth as nginx does.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import { createRequire } from 'node:module';
import { after, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { startServers } from './servers.js';

const { create } = createRequire(import.meta.url)('../../clients/miniprogram');

let servers, gateway;

before(async () => {
  servers = await startServers({ settings: '[api]\nphone = true' });
  gateway = await startGateway(servers);
});

after(async () => {
  await gateway?.stop();
  await servers?.stop();
});

beforeEach(() => gateway.calm());

test('fifty requests after a cold start make one login', async () => {
  const client = create({ baseUrl: gateway.url, wx: phone() });
  const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => client.request({ url: `/orders/${i}` })));
  assert.deepEqual(new Set(answers.map(({ statusCode }) => statusCode)), new Set([200]));
  assert.equal(new Set(answers.map(({ data }) => data.openid)).size, 1);
  assert.equal(gateway.logins, 1);
});

test('a session survives a restart of the program', async () => {
  const wx = phone();
  const { openid } = await create({ baseUrl: gateway.url, wx }).session();
  const { data } = await create({ baseUrl: gateway.url, wx }).request({ url: '/me' });
  assert.equal(data.openid, openid);
  assert.equal(gateway.logins, 1);
});

test('a session that was ended behind its back costs one login and no request', async () => {
  const client = create({ baseUrl: gateway.url, wx: phone() });
  const { openid } = await client.session();
  await servers.command('session', 'revoke', '--openid', openid);
  // The server hears of it within a second; until then it is good.
  while ((await gateway.check(await client.header())) !== 401) await new Promise((done) => setTimeout(done, 50));
  const answers = await Promise.all([1, 2, 3].map((i) => client.request({ url: `/orders/${i}`, method: 'POST', data: { i } })));
  assert.deepEqual(answers.map(({ statusCode, data }) => [statusCode, data.body.i]), [[200, 1], [200, 2], [200, 3]]);
  assert.equal(gateway.logins, 2);
});

test('what is refused again is answered, once', async () => {
  const client = create({ baseUrl: gateway.url, wx: phone() });
  gateway.refuse = true;
  const { statusCode } = await client.request({ url: '/me' });
  assert.equal(statusCode, 401);
  assert.equal(gateway.logins, 2);
});

test('a server that is down or fails costs nobody the session', async () => {
  const wx = phone();
  const client = create({ baseUrl: gateway.url, wx });
  const { token } = await client.session();
  for (const status of [500, 502, 503, 'hang up']) {
    gateway.fault = status;
    const asked = client.request({ url: '/me' });
    if (status === 'hang up') await assert.rejects(asked, ({ errMsg }) => errMsg.startsWith('request:fail'));
    else assert.equal((await asked).statusCode, status);
  }
  gateway.fault = undefined;
  await servers.stopAuth();
  assert.equal((await client.request({ url: '/me' })).statusCode, 503);
  await servers.startAuth();
  assert.equal((await client.request({ url: '/me' })).statusCode, 200);
  assert.equal((await client.session()).token, token);
  assert.equal(gateway.logins, 1);
});

test('a login that fails says why, and the next request tries again', async () => {
  const wx = phone();
  const client = create({ baseUrl: gateway.url, wx });
  gateway.fault = 503;
  await assert.rejects(client.request({ url: '/me' }), ({ message, response }) =>
    message.includes('503') && response.statusCode === 503);
  gateway.fault = undefined;
  wx.faults.login = 'login:fail no network';
  await assert.rejects(client.login(), { errMsg: 'login:fail no network' });
  wx.faults.login = undefined;
  assert.equal((await client.request({ url: '/me' })).statusCode, 200);
});

test('a slow login is waited for by all', async () => {
  const client = create({ baseUrl: gateway.url, wx: phone() });
  await servers.faults({ latency_ms: 300 });
  const answers = await Promise.all([client.request({ url: '/me' }), client.session(), client.header()]);
  await servers.faults({});
  assert.equal(answers[0].statusCode, 200);
  assert.equal(answers[2].Authorization, `Bearer ${answers[1].token}`);
  assert.equal(gateway.logins, 1);
});

test('a code that is refused is replaced by a new one, once', async () => {
  const wx = phone();
  const client = create({ baseUrl: gateway.url, wx });
  wx.faults.codes = ['used', null];
  assert.equal((await client.request({ url: '/me' })).statusCode, 200);
  assert.equal(gateway.logins, 2);
  wx.faults.codes = ['used', 'used', 'used'];
  await assert.rejects(client.login(), /401/);
  assert.equal(gateway.logins, 4);
});

test('storage may fail', async () => {
  const wx = phone();
  wx.faults.storage = true;
  const client = create({ baseUrl: gateway.url, wx });
  for (let i = 0; i < 3; i++) assert.equal((await client.request({ url: '/me' })).statusCode, 200);
  await client.logout();
  assert.equal(gateway.logins, 1);
});

test('a logout ends the session everywhere', async () => {
  const wx = phone();
  const client = create({ baseUrl: gateway.url, wx });
  const header = await client.header();
  await client.logout();
  assert.equal(await gateway.check(header), 401);
  assert.deepEqual(wx.stored, {});
  await client.logout();
  assert.equal((await client.request({ url: '/me' })).statusCode, 200);
  assert.equal(gateway.logins, 2);
});

test('a logout without a server is one on the phone', async () => {
  const wx = phone();
  const client = create({ baseUrl: gateway.url, wx });
  await client.session();
  gateway.fault = 'hang up';
  await assert.rejects(client.logout(), { errMsg: /^request:fail/ });
  assert.deepEqual(wx.stored, {});
});

test('develop, trial and release are kept apart', async () => {
  const wx = phone();
  const tokens = [];
  for (const version of ['develop', 'trial', 'release', undefined]) {
    wx.faults.version = version;
    tokens.push((await create({ baseUrl: gateway.url, wx }).session()).token);
  }
  assert.equal(new Set(tokens).size, 3, 'where nothing is told it is release');
  assert.equal(tokens[2], tokens[3]);
});

test('uni and Taro do as well', async () => {
  for (const shape of [uni, taro]) {
    const client = create({ baseUrl: gateway.url, wx: shape(phone()) });
    assert.equal((await client.request({ url: '/me' })).statusCode, 200);
    gateway.fault = 'hang up';
    await assert.rejects(client.request({ url: '/me' }), { errMsg: /^request:fail/ });
    gateway.fault = undefined;
  }
});

test('a request can be aborted, before and after it was sent', async () => {
  const client = create({ baseUrl: gateway.url, wx: phone() });
  const early = client.request({ url: '/me' });
  early.abort();
  await assert.rejects(early, { errMsg: 'request:fail abort' });
  await client.session();
  gateway.fault = 'silence';
  const late = client.request({ url: '/me' });
  await gateway.heard();
  late.abort();
  await assert.rejects(late, { errMsg: 'request:fail abort' });
});

test('files carry the session, and callbacks are called', async () => {
  const client = create({ baseUrl: gateway.url, wx: phone() });
  const { data } = await client.uploadFile({ url: '/files', filePath: 'a.txt', name: 'file' });
  assert.match(JSON.parse(data).openid, /^o/);
  const called = [];
  const answer = await new Promise((done) => {
    client.downloadFile({ url: '/files/a', success: () => called.push('success'), complete: done });
  });
  assert.equal(answer.statusCode, 200);
  assert.deepEqual(called, ['success']);
});

test('the token goes below the base URL and nowhere else', async () => {
  const other = await startGateway(servers);
  try {
    const client = create({ baseUrl: `${gateway.url}/`, wx: phone() });
    const elsewhere = await client.request({ url: `${other.url}/open`, header: { 'X-Own': '1' } });
    assert.deepEqual([elsewhere.data.authorization, elsewhere.data.own], [undefined, '1']);
    const { data } = await client.request({ url: `${gateway.url}/open`, header: { 'X-Own': '1' } });
    assert.match(data.authorization, /^Bearer /);
    assert.equal(data.own, '1');
    // A name that only begins alike is another one.
    await assert.rejects(client.request({ url: `${gateway.url}.example.com/open` }));
    assert.equal(gateway.requests.some(({ host }) => host.includes('example')), false);
  } finally {
    await other.stop();
  }
});

test('the phone button gives a number, once, and to its own user', async () => {
  const client = create({ baseUrl: gateway.url, wx: phone() });
  const { openid } = await client.session();
  const code = await servers.pressPhoneButton({ openid, phoneNumber: '13580006666' });
  const other = create({ baseUrl: gateway.url, wx: phone() });
  await assert.rejects(other.phone(code), { message: /status 422/ });
  assert.deepEqual(await client.phone(code), { phoneNumber: '13580006666', purePhoneNumber: '13580006666', countryCode: '86' });
  await assert.rejects(client.phone(code), { message: /status 422/ });
});

test('the types are right', async () => {
  const tsc = fileURLToPath(new URL('./node_modules/.bin/tsc', import.meta.url));
  const project = fileURLToPath(new URL('./miniprogram.tsconfig.json', import.meta.url));
  await promisify(execFile)(tsc, ['--project', project]).catch(({ stdout }) => assert.fail(stdout));
});

/** A `wx` whose requests are real ones. */
function phone() {
  const stored = {}, faults = {};
  const storage = (work) => {
    if (faults.storage) throw new Error('setStorageSync:fail quota exceeded');
    return work();
  };
  const send = (name, { url, method = 'GET', data, header, success, fail, complete }) => {
    const abort = new AbortController();
    const body = data === undefined || method === 'GET' ? undefined : JSON.stringify(data);
    fetch(url, { method, body, headers: header, signal: abort.signal }).then(async (response) => {
      const text = await response.text();
      const json = name === 'request' && text.startsWith('{');
      success({ statusCode: response.status, data: json ? JSON.parse(text) : text, header: {} });
    }).catch(() => fail({ errMsg: abort.signal.aborted ? `${name}:fail abort` : `${name}:fail` })).then(complete);
    return { abort: () => abort.abort() };
  };
  return {
    stored, faults,
    login({ success, fail }) {
      if (faults.login) return fail({ errMsg: faults.login });
      const code = faults.codes?.shift();
      if (code) return success({ code });
      servers.wxLogin({ openid: `o${Math.random().toString(36).slice(2)}` }).then(success, fail);
    },
    request: (options) => send('request', options),
    uploadFile: ({ filePath, name, ...options }) =>
      send('uploadFile', { ...options, method: 'POST', data: { filePath, name } }),
    downloadFile: (options) => send('downloadFile', options),
    getStorageSync: (key) => storage(() => stored[key] ?? ''),
    setStorageSync: (key, value) => storage(() => { stored[key] = value; }),
    removeStorageSync: (key) => storage(() => { delete stored[key]; }),
    getAccountInfoSync: () => ({ miniProgram: { envVersion: faults.version } }),
  };
}

/** uni-app's: it has no account, and returns a promise only to those who pass no callback. */
function uni(wx) {
  const { getAccountInfoSync, ...rest } = wx;
  return rest;
}

/** Taro's: it returns a promise besides calling back, and that one rejects as well. */
function taro(wx) {
  const both = (name) => (options) => new Promise((resolve, reject) => {
    const settle = (settled, told) => (result) => { settled(result); told?.(result); };
    wx[name]({ ...options, success: settle(resolve, options.success), fail: settle(reject, options.fail) });
  });
  return { ...wx, login: both('login'), request: both('request') };
}

/** nginx as docs/gateway.md has it, as far as a client can tell, and a business server behind it. */
async function startGateway(servers) {
  const gateway = {
    calm: () => Object.assign(gateway, { logins: 0, fault: undefined, refuse: false, requests: [] }),
    /** What forward auth says of these headers. */
    check: async (headers) => (await fetch(auth('/v1/forward-auth'), { headers })).status,
    heard: () => once(server, 'request', { signal: AbortSignal.timeout(60_000) }),
    stop: () => new Promise((done) => {
      server.close(done);
      server.closeAllConnections();
    }),
  };
  const auth = (path) => new URL(path, servers.authUrl());
  const server = http.createServer(async (request, response) => {
    const { method, url, headers } = request;
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    const answer = (status, data) => response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(data));
    gateway.requests.push(headers);
    if (url === '/v1/login') gateway.logins += 1;
    if (gateway.fault === 'silence') return undefined;
    if (gateway.fault === 'hang up') return request.socket.destroy();
    if (gateway.fault) return answer(gateway.fault, {});
    const { authorization } = headers;
    if (url === '/open') return answer(200, { authorization, own: headers['x-own'] });
    try {
      if (['/v1/login', '/v1/session', '/v1/phone'].includes(url)) {
        const relayed = await fetch(auth(url), { method, body: body || undefined, headers: authorization ? { authorization } : {} });
        return response.writeHead(relayed.status).end(await relayed.text());
      }
      if (gateway.refuse) return answer(401, {});
      const { status, headers: identity } = await fetch(auth('/v1/forward-auth'), { headers: authorization ? { authorization } : {} });
      if (status !== 200) return answer(status, {});
      return answer(200, { openid: identity.get('x-wx-openid'), body: body ? JSON.parse(body) : undefined });
    } catch {
      return answer(503, {});
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  gateway.url = `http://127.0.0.1:${server.address().port}`;
  gateway.calm();
  return gateway;
}
