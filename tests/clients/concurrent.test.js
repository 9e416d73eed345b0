// A mini program that makes several requests as it starts: wafer-client-sdk logs in for each of them, at once.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { startBusiness } from './business.js';
import { createPhone, loadClient } from './phone.js';
import { startServers } from './servers.js';

// With one session per user these logins would end each other, and the SDK tries only twice.
test('requests at a cold start all succeed when a user may have several sessions', async () => {
  const servers = await startServers({ settings: '[sessions]\nper_user = 8' });
  const business = await startBusiness();
  try {
    business.useAuth(servers.authUrl());
    const { openid } = await servers.wxLogin();
    const phone = createPhone(() => servers.wxLogin({ openid }));
    const client = loadClient(phone);
    client.setLoginUrl(`${business.url}/login`);

    const answers = await Promise.all(Array.from({ length: 5 }, () => new Promise((success, fail) => {
      client.request({ url: `${business.url}/user`, login: true, success: ({ data }) => success(data), fail });
    })));

    assert.deepEqual(answers.map(({ userInfo }) => userInfo.openId), Array(5).fill(openid));
    assert.equal(phone.logins, 5);
    assert.deepEqual(business.calls.filter(({ error }) => error), []);
  } finally {
    await business.stop();
    await servers.stop();
  }
});
