// The console in a real browser: what a person sees, presses and hears.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { AxeBuilder } from '@axe-core/playwright';
import { chromium } from 'playwright-core';

import { startDev } from './servers.js';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const PATIENCE_MS = 60_000;
const PATHS = ['/', '/apps', '/apps/wx0123456789abcdef', '/users', '/live', '/phone', '/settings'];
const OPENID = 'oSunGor09YYfiL8KvYwVLJFT_Y0M';

describe('the console', () => {
  let dev, browser, dir;
  const strangers = [];
  const complaints = [];

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'mina-auth-console-'));
    dev = await startDev();
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
  });
  after(async () => {
    await browser?.close();
    await dev?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  /** A browser of somebody's own, which notes what it asks elsewhere and what it complains of. */
  async function visit(options = {}) {
    const context = await browser.newContext({ locale: 'en-US', ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== dev.console) strangers.push(request.url());
    });
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(`${page.url()}: ${message.text()}`);
    });
    page.on('pageerror', (error) => complaints.push(`${page.url()}: ${error}`));
    return page;
  }

  async function visitLoggedIn(options) {
    const page = await visit(options);
    await page.goto(dev.link);
    assert.equal(page.url(), `${dev.console}/`, 'the token is not left in the address');
    return page;
  }

  test('one logs in with the token, and out', async () => {
    const page = await visit();
    await page.goto(dev.console);
    assert.match(page.url(), /\/login$/);
    const shown = complaints.length;
    await page.getByLabel('Token').fill('not the token');
    await page.keyboard.press('Enter');
    await page.getByText('This is not the token.').waitFor();
    // The browser reports the status of that page.
    complaints.splice(shown);
    await page.getByLabel('Token').fill(dev.token);
    await page.keyboard.press('Enter');
    await page.getByText('Everything is well.').waitFor();
    const [cookie] = await page.context().cookies();
    assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, 'Strict']);
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.goto(`${dev.console}/users`);
    assert.match(page.url(), /\/login$/);
    await page.context().close();
  });

  test('a login by the Phone page is seen on an open Overview, and a session that is ended is refused', async () => {
    const overview = await visitLoggedIn();
    const before = Number(await overview.locator('.larges li', { hasText: 'Logins today' }).locator('strong').innerText());
    const phone = await visitLoggedIn();
    await phone.goto(`${dev.console}/phone`);
    await phone.getByLabel('Who').fill(OPENID);
    await phone.getByRole('button', { name: 'Log in' }).first().click();
    await phone.locator('.phone', { hasText: OPENID }).waitFor();
    await overview.locator('.larges li', { hasText: 'Logins today' })
      .locator('strong', { hasText: new RegExp(`^${before + 1}$`) }).waitFor();

    const press = (name) => phone.locator('.phone', { hasText: OPENID }).getByRole('button', { name }).click();
    const answer = phone.locator('.answers li').first();
    await press('Check the session');
    assert.match(await answer.innerText(), /GET \/v1\/session\s+200/);
    await press('Send encrypted data');
    assert.match(await answer.innerText(), /POST \/v1\/decrypt\s+200[^]*6543/);
    await press('Press the phone button');
    assert.match(await answer.innerText(), /POST \/v1\/phone\s+200[^]*13580006666/);

    const users = await visitLoggedIn();
    await users.goto(`${dev.console}/users`);
    await users.getByLabel(/openid/).fill(OPENID);
    await users.keyboard.press('Enter');
    await users.getByRole('link', { name: OPENID }).click();
    await users.getByRole('button', { name: 'End all' }).click();
    await users.getByText('Ended').waitFor();
    await press('Check the session');
    assert.match(await answer.innerText(), /GET \/v1\/session\s+401/);
    await users.getByText('Erase this user').first().click();
    await users.getByRole('button', { name: 'Erase this user' }).click();
    await users.getByText('The user was erased.').waitFor();

    await phone.getByRole('button', { name: 'wrong secret' }).click();
    await phone.getByLabel('Who').fill('');
    await phone.getByRole('button', { name: 'Log in' }).first().click();
    assert.match(await answer.innerText(), /40125/);
    await overview.getByText('WeChat refuses this app').waitFor();
    await phone.getByRole('button', { name: 'well', exact: true }).click();
    await phone.getByRole('button', { name: 'Log in' }).first().click();
    await overview.getByText('Everything is well.').waitFor();
    await Promise.all([overview, phone, users].map((page) => page.context().close()));
  });

  for (const [locale, word] of [['en-US', 'Settings'], ['zh-CN', '配置']]) {
    for (const colorScheme of ['light', 'dark']) {
      test(`every page can be used by everybody: ${locale}, ${colorScheme}`, async () => {
        const page = await visitLoggedIn({ locale, colorScheme, viewport: { width: 390, height: 800 } });
        for (const path of PATHS) {
          await page.goto(dev.console + path);
          await page.getByRole('link', { name: word, exact: true }).waitFor();
          const { violations } = await new AxeBuilder({ page }).analyze();
          const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
          assert.deepEqual(found, [], path);
          const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(overflow <= 0, `${path} is ${overflow} pixels wider than a phone`);
        }
        await page.context().close();
      });
    }
  }

  test('a choice of language is kept', async () => {
    const page = await visitLoggedIn({ locale: 'zh-CN' });
    await page.goto(`${dev.console}/live`);
    await page.getByRole('button', { name: 'English' }).click();
    assert.equal(page.url(), `${dev.console}/live`);
    await page.getByRole('heading', { name: 'Live' }).waitFor();
    await page.context().close();
  });

  test('it works without JavaScript', async () => {
    const page = await visitLoggedIn({ javaScriptEnabled: false });
    await page.goto(`${dev.console}/phone`);
    await page.getByRole('button', { name: 'Log in' }).first().click();
    await page.locator('.phone').first().waitFor();
    await page.context().close();
  });

  test('no page frames it', async () => {
    const page = await visitLoggedIn();
    const shown = complaints.length;
    await page.route('**/frame', (route) => route.fulfill({ contentType: 'text/html', body: `<iframe src="${dev.console}/apps"></iframe>` }));
    await page.goto('http://127.0.0.1:1/frame');
    const frame = page.frames()[1];
    assert.doesNotMatch(await frame.content(), /AppSecret/);
    complaints.splice(shown);
    strangers.length = 0;
    await page.context().close();
  });

  test('nothing was asked elsewhere, and the browser had nothing to complain of', () => {
    assert.deepEqual([strangers, complaints], [[], []]);
  });
});
