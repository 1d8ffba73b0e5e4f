/** A real browser for the tests, and what every test checks of it. */

import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {chromium} from 'playwright-core';

const executablePath = process.env.CHROMIUM;
/** A name of this machine that is no secure context, as its address in a home network is none. */
export const PHONE_HOST = 'phone.test';
const PLAIN = [
  '--no-sandbox',
  '--disable-dev-shm-usage',
  `--host-resolver-rules=MAP ${PHONE_HOST} 127.0.0.1`,
];
/** WebGPU on the processor: slow, but real. */
export const WITH_WEBGPU = [
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--enable-features=Vulkan',
];

/** @param {string[]} more arguments */
const options = (more) => ({executablePath, args: [...PLAIN, ...more]});

export const launch = () => chromium.launch(options([]));

/** Milliseconds after which a test is taken for stuck: some calls of Playwright wait for ever. */
const LIMIT = 400_000;

/** @param {Promise<void>} action @returns {Promise<boolean>} whether it came to its end in time */
async function ended(action) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(() => resolve(false), LIMIT);
  });
  try {
    return await Promise.race([action.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Tests of the enclosing suite that share one browser. If the browser hangs, a fresh one takes over
 * and the test begins again, once.
 * @param {string[]} more arguments of the browser
 * @returns {(name: string, action: (browser: import('playwright-core').Browser) => Promise<void>) => void}
 */
export function browserTests(more = []) {
  let server;
  let browser;
  const start = async () => {
    server = await chromium.launchServer(options(more));
    browser = await chromium.connect(server.wsEndpoint());
  };
  before(start);
  after(() => server.kill());
  return (name, action) => {
    test(name, async (context) => {
      if (!(await ended(action(browser)))) {
        context.diagnostic(`nothing came for ${LIMIT / 1000} s: once more, in a fresh browser`);
        await server.kill();
        await start();
        assert.ok(await ended(action(browser)), 'nothing came again');
      }
    });
  };
}

/**
 * Runs `test` on a fresh page; afterwards nothing may have left the origin, and the console must
 * hold no error.
 * @param {import('playwright-core').Browser} browser
 * @param {string} url
 * @param {(page: import('playwright-core').Page) => Promise<void>} test
 * @param {import('playwright-core').BrowserContextOptions} options
 */
export async function onPage(browser, url, test, options = {}) {
  // Without the service worker a page loads faster; the tests that are about it allow it.
  const context = await browser.newContext({serviceWorkers: 'block', ...options});
  const errors = [];
  const requests = [];
  context.on('request', (request) => requests.push(request.url()));
  context.on('console', (message) => {
    if (message.type() === 'error') {
      errors.push(message.text());
    }
  });
  context.on('weberror', (error) => errors.push(String(error.error())));
  const page = await context.newPage();
  try {
    await page.goto(url);
    await ready(page);
    await test(page);
  } finally {
    await context.close();
  }
  const {origin} = new URL(url);
  const foreign = requests.filter((it) => new URL(it).origin !== origin && !it.startsWith('data:'));
  assert.deepEqual(foreign, []);
  assert.ok(requests.length > 10, 'the requests were seen');
  assert.deepEqual(errors, []);
}

/** Until the model is loaded. @param {import('playwright-core').Page} page */
export async function ready(page) {
  await page.waitForSelector('#backend[data-threads]', {timeout: 60_000});
}

/**
 * Waits until the `index`th picture is in a state, and returns its card. One that has failed comes to
 * no other.
 * @param {import('playwright-core').Page} page
 * @param {string} state
 */
export async function card(page, state, index = 0) {
  const found = page.locator('.card').nth(index);
  const within = page.locator(
    `.card:nth-child(${index + 1}):is([data-state="${state}"], [data-state="failed"])`,
  );
  const arrived = await within.waitFor({timeout: 300_000}).then(
    async () => state === 'failed' || (await found.getAttribute('data-state')) !== 'failed',
    () => false,
  );
  assert.ok(arrived, `waited for "${state}"; the card says: ${await found.innerText()}`);
  return found;
}

/**
 * @param {import('playwright-core').Page} page
 * @param {import('playwright-core').Locator} card
 * @param {string} folder
 */
export async function download(page, card, folder) {
  const [file] = await Promise.all([
    page.waitForEvent('download'),
    card.getByRole('link', {name: 'Download'}).click(),
  ]);
  await file.saveAs(`${folder}/${file.suggestedFilename()}`);
  return file.suggestedFilename();
}
