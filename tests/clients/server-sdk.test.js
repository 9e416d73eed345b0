// qcloud-weapp-server-sdk 0.8.2 on a business server, with mina-auth behind it.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';

import { startBusiness } from './business.js';
import { APP, OTHER_APP, startServers } from './servers.js';

const MAGIC = 'F2C224D4-2BCE-4C64-AF9F-A6D872000D1A';

let servers;
let business;

before(async () => {
  servers = await startServers();
  business = await startBusiness();
});

after(async () => {
  await business?.stop();
  await servers?.stop();
});

beforeEach(() => {
  business.useAuth(servers.authUrl());
  business.calls.length = 0;
});

async function logIn(person) {
  const answer = await business.login(await servers.wxLogin(person));
  assert.equal(answer.error, undefined, answer.message);
  return answer.session;
}

test('a login gives a session, and the session gives the user', async () => {
  const phone = await servers.wxLogin({ profile: { nickName: 'Band' } });

  const answer = await business.login(phone);
  assert.equal(answer[MAGIC], 1);
  assert.deepEqual(Object.keys(answer.session).sort(), ['id', 'skey']);
  assert.match(answer.session.id, /^\S+$/);
  assert.match(answer.session.skey, /^\S+$/);

  const { userInfo } = await business.user(answer.session);
  assert.equal(userInfo.nickName, 'Band');
  assert.equal(userInfo.openId, phone.openid);
  assert.equal(userInfo.watermark.appid, APP);

  const [login, check] = business.calls;
  assert.deepEqual(login.userInfo, userInfo, 'the login gives the same user as the check');
  assert.deepEqual(check.userInfo, userInfo);
});

test('a wrong skey is an invalid session', async () => {
  const session = await logIn();
  const other = await logIn();

  const wrong = [other.skey, session.skey.slice(0, -1), `${session.skey}x`, 'x" or "1"="1', "' or '1'='1"];
  for (const skey of wrong) {
    const answer = await business.user({ id: session.id, skey });
    assert.equal(answer[MAGIC], 1);
    assert.equal(answer.error, 'ERR_INVALID_SESSION', skey);
  }
  assert.equal((await business.user({ id: 'nobody', skey: session.skey })).error, 'ERR_INVALID_SESSION');

  assert.ok((await business.user(session)).userInfo, 'the right one still works');
});

test('a code works once', async () => {
  const phone = await servers.wxLogin();
  assert.ok((await business.login(phone)).session);

  const again = await business.login(phone);
  assert.equal(again.error, 'ERR_LOGIN_FAILED');
  assert.match(again.message, /40029/);
});

test('a nickname keeps its emoji', async () => {
  const nickName = '👩‍👩‍👧‍👦 小明 𠮷 "\\</script> é';
  const session = await logIn({ profile: { nickName } });

  assert.equal((await business.user(session)).userInfo.nickName, nickName);
  assert.equal(business.calls[0].userInfo.nickName, nickName);
});

// The SDK insists on these headers; `empty` is the protocol's word for a phone that gave no profile.
const withoutProfile = ({ code }) => ({ code, encryptedData: 'empty', iv: 'empty' });

test('a login without a profile gives the openid', async () => {
  const phone = await servers.wxLogin();
  const { session } = await business.login(withoutProfile(phone));

  const { userInfo } = await business.user(session);
  assert.equal(userInfo.openId, phone.openid);
  assert.equal(userInfo.nickName, '');
  assert.equal(userInfo.gender, 0);
});

test('a login without a profile keeps the one before', async () => {
  const first = await servers.wxLogin({ profile: { nickName: 'Band' } });
  await business.login(first);

  const again = await servers.wxLogin({ openid: first.openid });
  const { session } = await business.login(withoutProfile(again));
  assert.equal((await business.user(session)).userInfo.nickName, 'Band');
});

test('the profile of somebody else is a failed login', async () => {
  const phone = await servers.wxLogin();
  const stranger = await servers.wxLogin();

  const answer = await business.login({ ...phone, encryptedData: stranger.encryptedData });
  assert.equal(answer.error, 'ERR_LOGIN_FAILED');
  assert.match(answer.message, /60021/);
});

test('a second login ends the first session', async () => {
  const phone = await servers.wxLogin();
  const { session: first } = await business.login(phone);
  const second = await logIn({ openid: phone.openid });

  assert.equal(second.id, first.id);
  assert.notEqual(second.skey, first.skey);
  assert.equal((await business.user(first)).error, 'ERR_INVALID_SESSION');
  assert.equal((await business.user(second)).userInfo.openId, phone.openid);
});

test('many people log in at once and each is who they are', async () => {
  const phones = await Promise.all(Array.from({ length: 20 }, () => servers.wxLogin()));
  const answers = await Promise.all(phones.map((phone) => business.login(phone)));
  const users = await Promise.all(answers.map(({ session }) => business.user(session)));

  assert.equal(new Set(answers.map(({ session }) => session.id)).size, phones.length);
  assert.deepEqual(users.map(({ userInfo }) => userInfo.openId), phones.map(({ openid }) => openid));
});

test('one person logs in many times at once and one session is left', async () => {
  const { openid } = await servers.wxLogin();
  const sessions = await Promise.all(Array.from({ length: 8 }, () => logIn({ openid })));
  const answers = await Promise.all(sessions.map((session) => business.user(session)));

  assert.equal(new Set(sessions.map(({ id }) => id)).size, 1);
  assert.equal(new Set(sessions.map(({ skey }) => skey)).size, sessions.length);
  assert.equal(answers.filter(({ userInfo }) => userInfo?.openId === openid).length, 1);
  assert.equal(answers.filter(({ error }) => error === 'ERR_INVALID_SESSION').length, sessions.length - 1);
});

test('a business server names its app by the path', async () => {
  business.useAuth(servers.authUrl(OTHER_APP));
  const session = await logIn({ appid: OTHER_APP });
  assert.equal((await business.user(session)).userInfo.watermark.appid, OTHER_APP);

  business.useAuth(servers.authUrl(APP));
  assert.equal((await business.user(session)).error, 'ERR_INVALID_SESSION');
});

test('a failing WeChat fails the login and no check', async () => {
  const session = await logIn();
  const phone = await servers.wxLogin();

  await servers.faults({ drop: true });
  try {
    const answer = await business.login(phone);
    assert.equal(answer.error, 'ERR_LOGIN_FAILED');
    assert.match(answer.message, /1005/);
    assert.ok((await business.user(session)).userInfo);
  } finally {
    await servers.faults({});
  }

  await logIn();
});

test('a session server that is down is an error, and sessions outlive it', async () => {
  const session = await logIn();
  const phone = await servers.wxLogin();

  await servers.stopAuth();
  try {
    assert.equal((await business.user(session)).error, 'ERR_CHECK_LOGIN_FAILED');
    assert.equal((await business.login(phone)).error, 'ERR_LOGIN_FAILED');
  } finally {
    await servers.startAuth();
  }

  business.useAuth(servers.authUrl());
  assert.ok((await business.user(session)).userInfo);
  assert.ok((await business.login(phone)).session);
});
