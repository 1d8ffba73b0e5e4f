/** A real browser for the tests, and what every test checks of it. */

import assert from 'node:assert/strict';
import {chromium} from 'playwright-core';

const executablePath = process.env.CHROMIUM;
const PLAIN = ['--no-sandbox', '--disable-dev-shm-usage'];
/** WebGPU on the processor: slow, but real. */
export const WITH_WEBGPU = [
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--enable-features=Vulkan',
];

/** @param {string[]} more arguments */
export function launch(more = []) {
  return chromium.launch({executablePath, args: [...PLAIN, ...more]});
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
 * Waits until the `index`th picture is in a state, and returns its card.
 * @param {import('playwright-core').Page} page
 * @param {string} state
 */
export async function card(page, state, index = 0) {
  const found = page.locator('.card').nth(index);
  try {
    await page
      .locator(`.card:nth-child(${index + 1})[data-state="${state}"]`)
      .waitFor({timeout: 300_000});
  } catch (error) {
    throw new Error(`waited for "${state}"; the card says: ${await found.innerText()}`, {cause: error});
  }
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
