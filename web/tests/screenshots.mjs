/**
 * Draws the pictures of docs/browser.md: `npm run screenshots -- URL FOLDER`, with the page served at
 * URL by `mspfn app`, and CHROMIUM naming the browser.
 */

import {launch, ready} from './browsers.mjs';

const [url, folder] = process.argv.slice(2);
const PHONE = {viewport: {width: 390, height: 844}, isMobile: true, hasTouch: true};
const DESKTOP = {viewport: {width: 1100, height: 860}};

const browser = await launch();
for (const [name, options] of /** @type {const} */ ([
  ['browser_desktop', DESKTOP],
  ['browser_dark', {...DESKTOP, colorScheme: 'dark'}],
  ['browser_phone', PHONE],
])) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  await page.goto(url);
  await ready(page);
  await page.locator('#offline', {hasText: 'without a network'}).waitFor();
  await page.getByRole('button', {name: 'Try a sample'}).click();
  await page.locator('.card[data-state="done"]').waitFor();
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.mouse.move(0, 0);
  await page.waitForTimeout(500);
  const path = `${folder}/${name}.jpg`;
  await page.screenshot({path, fullPage: true, type: 'jpeg', quality: 88});
  await context.close();
}
await browser.close();
