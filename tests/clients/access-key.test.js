// qcloud-weapp-server-sdk 0.8.2 in front of a mina-auth that wants a key: it stands in the URL that the SDK is given.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { startBusiness } from './business.js';
import { startServers } from './servers.js';

const KEY = 'a+key/of: the server';

let servers;
let business;

before(async () => {
  servers = await startServers({ server: `access_key = "${KEY}"` });
  business = await startBusiness();
});

after(async () => {
  await business?.stop();
  await servers?.stop();
});

async function logInAndCheck(url) {
  business.useAuth(url);
  const phone = await servers.wxLogin();
  const { session, message } = await business.login(phone);
  assert.ok(session, message);
  assert.equal((await business.user(session)).userInfo.openId, phone.openid);
}

test('the key may be the password in the URL', async () => {
  await logInAndCheck(servers.authUrl().replace('//', `//wafer:${encodeURIComponent(KEY)}@`));
});

test('the key may be a parameter of the URL', async () => {
  await logInAndCheck(`${servers.authUrl()}?key=${encodeURIComponent(KEY)}`);
});

test('without the key, or with another one, nobody logs in', async () => {
  for (const url of [servers.authUrl(), `${servers.authUrl()}?key=wrong`]) {
    business.useAuth(url);
    assert.equal((await business.login(await servers.wxLogin())).error, 'ERR_LOGIN_FAILED');
  }
});
