// node-easywechat, unchanged, with the relay as its base URL: it works without AppSecret and token.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { APP, startServers } from './servers.js';

// The package's index wants a file of node-socialite that is not in what is published of it.
const MiniApp = createRequire(import.meta.url)('node-easywechat/dist/MiniApp/Application');

const KEY = 'the-key-of-the-business-server';

let servers;
let client;

// The SDK keeps its token in a file, where the process runs.
const dir = mkdtempSync(join(tmpdir(), 'mina-auth-easywechat-'));

before(async () => {
  process.chdir(dir);
  servers = await startServers({ settings: `[wechat_api]\nkey = "${KEY}"` });
  const baseURL = `${new URL(servers.authUrl()).origin}/v1/wechat/${APP}/key/${KEY}/api/`;
  const app = new MiniApp({ app_id: APP, secret: 'any text', http: { baseURL } });
  client = app.getClient();
});

after(async () => {
  await servers?.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function tokens(wishes) {
  const response = await fetch(`http://${servers.simulator}/sim/tokens`, { method: 'POST', body: JSON.stringify(wishes) });
  return response.json();
}

test('a call goes through', async () => {
  const answer = (await client.post('/wxa/msg_sec_check', { json: { content: '你好' } })).toObject();
  assert.equal(answer.errcode, 0, JSON.stringify(answer));
  assert.equal(answer.path, '/wxa/msg_sec_check');
  assert.deepEqual(JSON.parse(answer.body), { content: '你好' });
});

test('a call with a dead token goes through', async () => {
  await tokens({ kill: true });
  const answer = (await client.get('/cgi-bin/get_api_domain_ip', { params: { a: 1 } })).toObject();
  assert.equal(answer.errcode, 0, JSON.stringify(answer));
  assert.deepEqual(answer.query, [['a', '1']]);
});

test('an upload of media goes through', async () => {
  const form = new FormData();
  form.append('media', new Blob([Buffer.alloc(300_000, 7)], { type: 'image/png' }), 'picture.png');
  const answer = (await client.post('/cgi-bin/media/upload', { params: { type: 'image' }, data: form })).toObject();
  assert.equal(answer.errcode, 0, JSON.stringify(answer));
  assert.ok(answer.length > 300_000, JSON.stringify(answer));
  assert.match(answer.headers['content-type'], /^multipart\/form-data; boundary=/);
});
