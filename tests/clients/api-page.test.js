// The examples of docs/api.md, run as they stand there.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { startServers } from './servers.js';

const page = (name) => readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8');
/** The code blocks of a page: a language and a text each. */
const blocks = (text) => [...text.matchAll(/^```(\w+)\n(.*?)^```/gms)].map(([, language, block]) => [language, block]);

/** What is another one every time. */
const settled = (text) => text.trim().replaceAll('\r', '')
  .replaceAll(/\b[0-9a-f]{32}\b/g, 'RANDOM')
  .replaceAll(/\d{4}-\d\d-\d\dT[\d:]+Z/g, 'TIME')
  .replaceAll(/^date: .*$/gm, 'date: DATE');

let servers;

before(async () => { servers = await startServers(); });

after(() => servers?.stop());

test('both languages have the same examples', () => {
  assert.deepEqual(blocks(page('api.zh-CN.md')), blocks(page('api.md')));
});

test('the examples answer what the page says', async () => {
  const all = blocks(page('api.md'));
  const END = '---- the next one';
  const scripts = all.filter(([language]) => language === 'sh').map(([, script]) => script);
  const script = scripts.join(`\necho; echo '${END}'\n`)
    .replaceAll('127.0.0.1:8080', new URL(servers.authUrl()).host)
    .replaceAll('127.0.0.1:8082', servers.simulator);
  const { stdout } = await promisify(execFile)('sh', ['-c', script]);
  const answers = stdout.split(END).map(settled);
  const expected = all.filter(([language]) => language !== 'sh').map(([, text]) => settled(text));
  assert.equal(answers.length, expected.length);
  answers.forEach((answer, at) => assert.equal(answer, expected[at], scripts[at]));
});
