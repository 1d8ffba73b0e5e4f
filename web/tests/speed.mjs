/** For benchmarks/browser.py: `node speed.mjs PAGE MODEL THREADS TILES` prints the times as JSON. */

import {launch} from './browsers.mjs';

const [page_url, url, threads, tiles] = process.argv.slice(2);
const browser = await launch();
const page = await (await browser.newContext({serviceWorkers: 'block'})).newPage();
await page.goto(page_url);
const measured = await page.evaluate(
  (order) =>
    new Promise((resolve, reject) => {
      const worker = new Worker('speed_worker.js');
      worker.onerror = (event) => reject(new Error(event.message));
      worker.onmessage = ({data}) => resolve(data);
      worker.postMessage(order);
    }),
  {url, threads: Number(threads), tiles: Number(tiles)},
);
console.log(JSON.stringify(measured));
await browser.close();
