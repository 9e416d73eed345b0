// wafer-client-sdk 0.8.4 on a phone, qcloud-weapp-server-sdk 0.8.2 on the business server, mina-auth behind it.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { startBusiness } from './business.js';
import { createPhone, loadClient } from './phone.js';
import { startServers } from './servers.js';

const STORAGE_KEY = 'weapp_session_F2C224D4-2BCE-4C64-AF9F-A6D872000D1A';

let servers;
let business;
let client;
let phone;
let openid;

before(async () => {
  servers = await startServers();
  business = await startBusiness();
});

after(async () => {
  await business?.stop();
  await servers?.stop();
});

// A new person with a new phone for each test; the SDK reads the global `wx` anew at each call.
beforeEach(async () => {
  ({ openid } = await servers.wxLogin());
  phone = createPhone(() => servers.wxLogin({ openid, profile: { nickName: '小明 🎈' } }));
  client = loadClient(phone);
  client.setLoginUrl(`${business.url}/login`);
  business.useAuth(servers.authUrl());
  business.calls.length = 0;
});

const logIn = () => new Promise((success, fail) => { client.login({ success, fail }); });

const callUser = () => new Promise((success, fail) => {
  client.request({ url: `${business.url}/user`, login: true, success: ({ data }) => success(data), fail });
});

const storedSession = () => phone.wx.getStorageSync(STORAGE_KEY);

/** What the business server saw since the last look: ['/user ok', …]. */
const takeCalls = () => business.calls.splice(0).map(({ path, error }) => `${path} ${error ?? 'ok'}`);

/** Another process revoked it: the server follows in its own time, and the phone must not notice the wait. */
async function untilRefused(session) {
  for (const end = Date.now() + 60_000; Date.now() < end; await pause(50)) {
    if ((await business.user(session)).error === 'ERR_INVALID_SESSION') {
      takeCalls();
      return;
    }
  }
  assert.fail('the revoked session is still accepted');
}

/** The request that follows must cost one login and be repeated once, unseen by the mini program. */
async function assertLogsInAgain() {
  const { logins } = phone;
  const { skey } = storedSession();

  const { userInfo } = await callUser();

  assert.equal(userInfo.openId, openid);
  assert.equal(phone.logins, logins + 1);
  assert.notEqual(storedSession().skey, skey);
  assert.deepEqual(takeCalls(), ['/user ERR_INVALID_SESSION', '/login ok', '/user ok']);

  await callUser();
  assert.equal(phone.logins, logins + 1, 'the new session is kept');
  assert.deepEqual(takeCalls(), ['/user ok']);
}

test('one login serves many requests', async () => {
  const userInfo = await logIn();
  assert.equal(userInfo.nickName, '小明 🎈');

  for (let i = 0; i < 3; i += 1) {
    const answer = await callUser();
    assert.equal(answer.userInfo.openId, openid);
    assert.equal(answer.userInfo.nickName, '小明 🎈');
  }
  assert.equal(phone.logins, 1);
  assert.deepEqual(takeCalls(), ['/login ok', '/user ok', '/user ok', '/user ok']);
});

test('the client logs in again after its session was revoked by id', async () => {
  await logIn();
  await callUser();
  const session = storedSession();

  await servers.command('session', 'revoke', '--id', session.id);
  await untilRefused(session);

  await assertLogsInAgain();
});

test('the client logs in again after its session was revoked by openid', async () => {
  await logIn();
  await callUser();
  const session = storedSession();

  await servers.command('session', 'revoke', '--openid', openid);
  await untilRefused(session);

  await assertLogsInAgain();
});

test('the client logs in again after a second phone ended its session', async () => {
  await logIn();
  await callUser();

  const { session: second } = await business.login(await servers.wxLogin({ openid }));
  assert.ok((await business.user(second)).userInfo);
  takeCalls();

  await assertLogsInAgain();
  assert.equal((await business.user(second)).error, 'ERR_INVALID_SESSION');
});

test('a refused login reaches the mini program, and the next one works', async () => {
  await servers.faults({ drop: true });
  try {
    await assert.rejects(logIn(), { type: 'ERR_LOGIN_MISSING_SESSION', message: /1005/ });
  } finally {
    await servers.faults({});
  }
  assert.equal(storedSession(), '');

  await logIn();
  assert.equal((await callUser()).userInfo.openId, openid);
});
