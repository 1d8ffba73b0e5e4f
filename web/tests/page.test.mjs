/**
 * The page in a real browser. tests/test_web_page.py starts this with sites and pictures, and
 * compares the pictures that are left in the folder `results`.
 */

import assert from 'node:assert/strict';
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {describe} from 'node:test';
import {browserTests, card, download, onPage, PHONE_HOST, ready, WITH_WEBGPU} from './browsers.mjs';

const {SITE, PLAIN_SITE, SHIPPED_SITE, NARROW_SITE, STRICT_SITE, BROKEN_SITE, DEAF_SITE} = process.env;
const {CHANGING_SITE, INCOMPLETE_SITE, PICTURES} = process.env;
const RESULTS = `${PICTURES}/results`;
const SMALL = `${PICTURES}/small.png`;
/** A few seconds of work for the small model, long enough to be cancelled for those that are shipped. */
const LARGE = `${PICTURES}/large.png`;
/** Of several tiles, for work that is waited for. */
const MEDIUM = `${PICTURES}/medium.png`;
mkdirSync(RESULTS, {recursive: true});

const KEPT = /** @type {const} */ ({serviceWorkers: 'allow'});

/** Gives the page a file in an event, as dropping and pasting do. */
async function fire(page, kind, path, type) {
  const bytes = readFileSync(path).toString('base64');
  const name = path.split('/').pop();
  await page.evaluate(
    async ([kind, bytes, name, type]) => {
      const content = Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0));
      const data = new DataTransfer();
      data.items.add(new File([content], name, {type}));
      const options = {bubbles: true, cancelable: true};
      document.dispatchEvent(
        kind === 'paste'
          ? new ClipboardEvent('paste', {...options, clipboardData: data})
          : new DragEvent(kind, {...options, dataTransfer: data}),
      );
    },
    [kind, bytes, name, type],
  );
}

/**
 * Milliseconds of the longest task of the page's own thread while `action` goes on. In processor time:
 * by the clock, which `PerformanceObserver` goes by, other work of the machine would count.
 */
async function longestTask(browser, page, action) {
  await browser.startTracing(page, {categories: ['toplevel']});
  await action();
  const {traceEvents} = JSON.parse((await browser.stopTracing()).toString());
  const own = traceEvents.filter(({args}) => args.name === 'CrRendererMain').map(({tid}) => tid);
  const tasks = traceEvents.filter(({tid, tdur}) => tdur !== undefined && own.includes(tid));
  assert.ok(tasks.length > 0, 'the tasks were seen');
  return Math.max(...tasks.map(({tdur}) => tdur)) / 1000;
}

/**
 * Cancels the first picture as soon as work on it begins: a click from outside comes late on a machine
 * with much other work.
 * @param {import('playwright-core').Page} page
 * @returns {Promise<boolean>} whether there was a result to download at that moment
 */
function pressCancel(page) {
  return page.evaluate(
    () =>
      new Promise((resolve) => {
        const observer = new MutationObserver(() => {
          const card = document.querySelector('.card[data-state="working"]');
          if (card !== null) {
            observer.disconnect();
            resolve(card.querySelector('[data-part="download"]:not([hidden])') !== null);
            /** @type {HTMLElement} */ (card.querySelector('[data-part="cancel"]')).click();
          }
        });
        observer.observe(document.body, {subtree: true, childList: true, attributes: true});
      }),
  );
}

/**
 * Writes down whatever the cards say from now on: what stands there for a moment only is easily missed
 * by one who looks now and then. Returns a function that gives the texts so far.
 */
async function textsOfCards(page) {
  const told = await page.evaluateHandle(() => {
    /** @type {string[]} */
    const texts = [];
    const note = () => {
      const text = [...document.querySelectorAll('.card')].map((card) => card.textContent).join(' ');
      if (text !== texts.at(-1)) {
        texts.push(text);
      }
    };
    const changes = {subtree: true, childList: true, characterData: true};
    new MutationObserver(note).observe(document.body, changes);
    return texts;
  });
  return () => told.jsonValue();
}

describe('the page', () => {
  const test = browserTests();

  test('a tile as numbers', async (browser) => {
    await onPage(browser, SITE, async (page) => {
      const values = new Float32Array(readFileSync(`${PICTURES}/tile.f32`).buffer.slice(0));
      const found = await page.evaluate(
        (values) =>
          new Promise((resolve, reject) => {
            const worker = new Worker('tile_worker.js');
            worker.onerror = (event) => reject(new Error(event.message));
            worker.onmessage = ({data}) =>
              resolve(
                Object.fromEntries(
                  Object.entries(data).map(([key, value]) => [
                    key,
                    typeof value === 'number' ? value : [...value],
                  ]),
                ),
              );
            worker.postMessage({url: 'models/small.tflite', values: Float32Array.from(values)});
          }),
        [...values],
      );
      for (const name of ['derained', 'statistics', 'guided']) {
        writeFileSync(`${RESULTS}/${name}.f32`, Float32Array.from(found[name]));
      }
    });
  });

  test('several files, restored and downloaded under their names', async (browser) => {
    await onPage(browser, SITE, async (page) => {
      const names = ['small.png', 'gray.png', 'tiny.png', 'alpha.png', 'turned.jpg', 'filled.jpg', 'turned.webp', 'turned.png'];
      await page.setInputFiles('#choose', names.map((name) => `${PICTURES}/${name}`));
      for (const [index, name] of names.entries()) {
        assert.equal(await download(page, await card(page, 'done', index), RESULTS), name);
      }
      assert.equal(await page.locator('#problem').isHidden(), true);
      const downloads = [];
      page.on('download', (file) => downloads.push(file.suggestedFilename()));
      await page.getByRole('button', {name: 'Download all'}).click();
      for (let wait = 0; wait < 100 && downloads.length < names.length; wait++) {
        await page.waitForTimeout(100);
      }
      assert.deepEqual(downloads.sort(), [...names].sort());
      await page.getByRole('button', {name: 'Remove gray.png'}).click();
      assert.equal(await page.locator('.card').count(), names.length - 1);
    });
  });

  test('the models that are shipped, a photograph in many tiles, a page that stays free', async (browser) => {
    await onPage(browser, SHIPPED_SITE, async (page) => {
      const longest = await longestTask(browser, page, async () => {
        const told = await textsOfCards(page);
        await page.setInputFiles('#choose', LARGE);
        await page.locator('.card:is([data-state="done"], [data-state="failed"])').waitFor({timeout: 300_000});
        assert.match((await told()).join('\n'), /tile 2 of 12/);
        await download(page, await card(page, 'done'), RESULTS);
      });
      assert.ok(longest <= 50, `the page itself worked for ${longest} ms at a stretch`);
      const spinning = await longestTask(browser, page, () =>
        page.evaluate(
          () =>
            new Promise((resolve) => {
              setTimeout(() => {
                let sum = 0;
                for (let number = 0; number < 1e7; number++) {
                  sum += Math.sin(number);
                }
                setTimeout(() => resolve(sum)); // after this task has ended
              });
            }),
        ),
      );
      assert.ok(spinning > 50, 'a busy page is seen');
    });
  });

  for (const kind of ['drop', 'paste']) {
    test(`a picture by ${kind}`, async (browser) => {
      await onPage(browser, SITE, async (page) => {
        await fire(page, 'dragover', SMALL, 'image/png');
        assert.equal(await page.locator('body.dropping').count(), 1);
        await fire(page, kind, SMALL, 'image/png');
        const found = await card(page, 'done');
        assert.match((await found.textContent()) ?? '', /small\.png\s*200 × 150/);
      });
    });
  }

  test('the camera of a phone', async (browser) => {
    const phone = {viewport: {width: 390, height: 844}, isMobile: true, hasTouch: true};
    await onPage(
      browser,
      SHIPPED_SITE,
      async (page) => {
        const camera = page.getByLabel('Take a photograph');
        assert.equal(await camera.getAttribute('capture'), 'environment');
        assert.equal(await page.locator('#camera').isVisible(), true);
        await camera.setInputFiles(LARGE);
        // All of the card comes into view, with the picture in it.
        await page.waitForFunction(() => {
          const found = document.querySelector('.card');
          const {bottom} = found.getBoundingClientRect();
          return found.querySelector('img').naturalWidth > 0 && bottom <= window.innerHeight;
        });
        await page.getByRole('button', {name: 'Cancel large.png'}).tap();
        await card(page, 'cancelled');
      },
      phone,
    );
  });

  test('the slider, by keyboard and by pointer', async (browser) => {
    await onPage(browser, SITE, async (page) => {
      await page.setInputFiles('#choose', SMALL);
      await card(page, 'done');
      const slider = page.getByRole('slider', {name: /before and after.*small\.png/i});
      const frame = page.locator('.comparison');
      const position = () => frame.evaluate((it) => it.style.getPropertyValue('--position'));
      assert.equal(await position(), '50%');
      await slider.focus();
      await page.keyboard.press('ArrowLeft');
      await page.keyboard.press('ArrowLeft');
      assert.equal(await position(), '48%');
      assert.equal(await slider.getAttribute('aria-valuetext'), '52 percent restored');
      const box = await frame.boundingBox();
      await page.mouse.move(box.x + 0.5 * box.width, box.y + 0.5 * box.height);
      await page.mouse.down();
      await page.mouse.move(box.x + 0.9 * box.width, box.y + 0.5 * box.height, {steps: 5});
      await page.mouse.up();
      assert.ok(Math.abs(Number.parseFloat(await position()) - 90) < 4);
      const clip = await page.locator('.after').evaluate((it) => getComputedStyle(it).clipPath);
      assert.match(clip, /inset\(0(px)? 0(px)? 0(px)? (8[6-9]|9[0-4])/);
    });
  });

  test('progress says what is going on, and moves on', async (browser) => {
    await onPage(browser, SITE, async (page) => {
      await page.evaluate(() => {
        globalThis.seen = [];
        new MutationObserver(() => {
          const {value} = document.querySelector('progress');
          const text = document.querySelector('[data-part="status"]')?.textContent;
          globalThis.seen.push([text, value]);
        }).observe(document.getElementById('pictures'), {
          subtree: true,
          childList: true,
          attributes: true,
          attributeFilter: ['value'],
        });
      });
      await page.setInputFiles('#choose', MEDIUM);
      await card(page, 'done');
      const seen = await page.evaluate(() => globalThis.seen);
      const texts = [...new Set(seen.map(([text]) => text))];
      const measuring = texts.filter((text) => /^Looking at the whole picture: part \d+ of \d+$/.test(text));
      const restoring = texts.filter((text) => /^Restoring: tile \d+ of \d+$/.test(text));
      assert.ok(measuring.length > 10, `it moves while it measures: ${texts}`);
      assert.ok(restoring.length > 10, `it moves while it restores: ${texts}`);
      assert.ok(texts.indexOf(measuring.at(-1)) < texts.indexOf(restoring[0]), 'one after the other');
      const shares = seen.map(([, value]) => value);
      assert.deepEqual(shares, [...shares].sort((a, b) => a - b));
      assert.equal(shares.at(-1), 1);
    });
  });

  test('cancelling, and going on', async (browser) => {
    await onPage(browser, SHIPPED_SITE, async (page) => {
      await page.setInputFiles('#choose', [LARGE, SMALL, SMALL]);
      await page.locator('.card', {hasText: 'Looking at the whole picture'}).first().waitFor();
      await page.getByRole('button', {name: 'Cancel small.png'}).last().click();
      await page.getByRole('button', {name: 'Cancel large.png'}).click();
      const large = await card(page, 'cancelled', 0);
      await card(page, 'cancelled', 2);
      await card(page, 'done', 1);
      await large.getByRole('button', {name: 'Restore again'}).click();
      await card(page, 'working', 0);
      await page.getByRole('button', {name: 'Cancel large.png'}).click();
      await card(page, 'cancelled', 0);
    });
  });

  test('another model, and the offer to restore again', async (browser) => {
    await onPage(browser, SHIPPED_SITE, async (page) => {
      const titles = await page.locator('#model option').allTextContents();
      assert.ok(titles.length > 0);
      await page.setInputFiles('#choose', SMALL);
      const found = await card(page, 'done');
      const again = found.getByRole('button', {name: 'Restore again'});
      assert.equal(await again.isHidden(), true);
      if (titles.length > 1) {
        await page.selectOption('#model', {index: 1});
        await again.click();
        await card(page, 'working');
        await card(page, 'done');
      }
    });
  });

  test('a result stays when another run is cancelled', async (browser) => {
    await onPage(browser, SHIPPED_SITE, async (page) => {
      await page.selectOption('#model', {index: 1}); // the faster one
      await page.setInputFiles('#choose', MEDIUM);
      const found = await card(page, 'done');
      const folder = `${RESULTS}/earlier`;
      const name = await download(page, found, folder);
      await page.selectOption('#model', {index: 0});
      const pressed = pressCancel(page);
      await found.getByRole('button', {name: 'Restore again'}).click();
      assert.equal(await pressed, false);
      await card(page, 'cancelled');
      assert.match((await found.textContent()) ?? '', /Cancelled\. The earlier result is still here\./);
      assert.equal(await download(page, found, folder), name);
    });
  });

  test('cancelled is cancelled, even if the worker hears of it too late', async (browser) => {
    await onPage(browser, DEAF_SITE, async (page) => {
      const pressed = pressCancel(page);
      await page.setInputFiles('#choose', MEDIUM);
      await pressed;
      const found = await card(page, 'cancelled');
      assert.equal(await found.getByRole('link', {name: 'Download'}).isHidden(), true);
      await found.getByRole('button', {name: 'Restore again'}).click();
      await card(page, 'done');
    });
  });

  test('what cannot be restored is said in words', async (browser) => {
    await onPage(browser, NARROW_SITE, async (page) => {
      const files = ['broken.jpg', 'small.png', 'notes.txt', 'tiny.png'];
      await page.setInputFiles('#choose', files.map((name) => `${PICTURES}/${name}`));
      assert.equal(await page.getByRole('alert').textContent(), 'Not a picture: notes.txt');
      const broken = await card(page, 'failed', 0);
      assert.match((await broken.textContent()) ?? '', /This JPEG file cannot be read: it is damaged, lacks its end/);
      const large = await card(page, 'failed', 1);
      assert.match((await large.textContent()) ?? '', /has 0\.03 megapixels; the page takes up to 0\.01/);
      await card(page, 'done', 2);
    });
  });

  test('a folder, a link and a sample that is not there', async (browser) => {
    const context = await browser.newContext({serviceWorkers: 'block'});
    await context.route('**/sample.jpg', (route) => route.fulfill({status: 404, body: 'missing'}));
    const page = await context.newPage();
    await page.goto(SITE);
    await ready(page);
    const workers = page.workers().length;
    const devtools = await context.newCDPSession(page);
    const data = {items: [], files: [PICTURES], dragOperationsMask: 1};
    for (const type of /** @type {const} */ (['dragEnter', 'dragOver', 'drop'])) {
      await devtools.send('Input.dispatchDragEvent', {type, x: 300, y: 200, data});
    }
    const found = await card(page, 'failed');
    assert.match((await found.textContent()) ?? '', /it is a folder, or a file that has been changed/);
    assert.equal(page.workers().length, workers, 'a worker that is well is kept');
    await page.evaluate(() => {
      const data = new DataTransfer();
      data.setData('text/uri-list', 'https://example.org/picture.jpg');
      document.dispatchEvent(new DragEvent('drop', {cancelable: true, dataTransfer: data}));
    });
    await page.getByRole('alert').filter({hasText: 'What was dropped is no file'}).waitFor();
    await page.getByRole('button', {name: 'Try a sample'}).click();
    await page.getByRole('alert').filter({hasText: 'could not be loaded'}).waitFor();
    assert.equal(await page.locator('.card').count(), 1);
    await context.close();
  });

  test('pictures that are larger than what the browser decodes', async (browser) => {
    await onPage(browser, SITE, async (page) => {
      const files = ['huge.jpg', 'huge.png', 'unknown.jpg'];
      await page.setInputFiles('#choose', files.map((name) => `${PICTURES}/${name}`));
      for (const [index, megapixels] of ['1,200', '576'].entries()) {
        const found = await card(page, 'failed', index);
        const expected = new RegExp(`has ${megapixels} megapixels; the page takes up to 64`);
        assert.match((await found.textContent()) ?? '', expected);
      }
      const unknown = await card(page, 'failed', 2);
      assert.match((await unknown.textContent()) ?? '', /cannot read this file as a picture. JPEG/);
    });
  });

  test('a browser that hides the pixels of pictures', async (browser) => {
    const context = await browser.newContext({serviceWorkers: 'block'});
    await context.route('**/worker.js', async (route) => {
      const response = await route.fetch();
      const hiding =
        'const {prototype} = OffscreenCanvasRenderingContext2D; const {getImageData} = prototype;' +
        'prototype.getImageData = function (...place) {' +
        '  const found = getImageData.apply(this, place); found.data.fill(255); return found; };';
      await route.fulfill({response, body: hiding + (await response.text())});
    });
    const page = await context.newPage();
    await page.goto(SITE);
    await ready(page);
    await page.setInputFiles('#choose', SMALL);
    const found = await card(page, 'failed');
    assert.match((await found.textContent()) ?? '', /hides the pixels of pictures/);
    await context.close();
  });

  test('leaving the page asks while there is something to lose', async (browser) => {
    await onPage(browser, SITE, async (page) => {
      const asked = [];
      page.on('dialog', (dialog) => {
        asked.push(dialog.type());
        dialog.dismiss();
      });
      const leave = () => page.close({runBeforeUnload: true});
      await page.setInputFiles('#choose', SMALL);
      const found = await card(page, 'done');
      await page.locator('h1').click(); // browsers ask only where somebody has used the page
      await leave();
      await page.waitForTimeout(500);
      assert.deepEqual(asked, ['beforeunload']);
      await download(page, found, `${RESULTS}/left`);
      const closed = page.waitForEvent('close', {timeout: 10_000});
      await leave();
      await closed;
      assert.deepEqual(asked, ['beforeunload']);
    });
  });

  test('pictures that are longer than a canvas can be', async (browser) => {
    await onPage(browser, SITE, async (page) => {
      await page.setInputFiles('#choose', [`${PICTURES}/long.png`, SMALL]);
      const found = await card(page, 'failed', 0);
      assert.match((await found.textContent()) ?? '', /no room for a picture of 70000 × 8 pixels/);
      await card(page, 'done', 1);
    });
  });

  test('a browser without SIMD', async (browser) => {
    const context = await browser.newContext({serviceWorkers: 'block'});
    const page = await context.newPage();
    await context.route('**/features.js', async (route) => {
      const response = await route.fetch();
      const body = (await response.text()).replace('WebAssembly.validate(SIMD)', 'false');
      await route.fulfill({response, body});
    });
    await page.goto(SITE);
    await page.getByRole('alert').filter({hasText: 'no WebAssembly SIMD'}).waitFor();
    await context.close();
  });

  test('opened as a file, the page says that it has to be served', async (browser) => {
    const page = await browser.newPage();
    await page.goto(`file://${process.env.CHANGING_FOLDER}/index.html`);
    await page.getByText('opened as a file it does not').waitFor();
    await page.close();
  });

  test('a worker that dies is replaced', async (browser) => {
    await onPage(browser, SITE, async (page) => {
      await page.evaluate(() => {
        const {postMessage} = Worker.prototype;
        Worker.prototype.postMessage = function (message, ...rest) {
          if (message.type === 'restore' && message.file.name === 'small.png') {
            this.dispatchEvent(new ErrorEvent('error', {message: 'RangeError: out of memory'}));
            return;
          }
          postMessage.call(this, message, ...rest);
        };
      });
      await page.setInputFiles('#choose', [SMALL, `${PICTURES}/tiny.png`]);
      const dead = await card(page, 'failed', 0);
      assert.match((await dead.textContent()) ?? '', /not enough memory for this picture/);
      await card(page, 'done', 1);
    });
  });

  test('a model that breaks is replaced by a fresh one', async (browser) => {
    await onPage(browser, BROKEN_SITE, async (page) => {
      await page.setInputFiles('#choose', [SMALL, `${PICTURES}/tiny.png`]);
      const dead = await card(page, 'failed', 0);
      assert.match((await dead.textContent()) ?? '', /not enough memory for this picture/);
      await card(page, 'done', 1);
    });
  });

  test('a worker that falls silent is replaced, and tries again once', async (browser) => {
    await onPage(browser, SITE, async (page) => {
      await page.clock.install();
      await page.evaluate(() => {
        const {postMessage} = Worker.prototype;
        let silent = 0;
        Worker.prototype.postMessage = function (message, ...rest) {
          const name = message.file?.name;
          if (name === 'gray.png' || (name === 'small.png' && silent++ === 0)) {
            return;
          }
          postMessage.call(this, message, ...rest);
        };
      });
      const patience = () => page.clock.runFor(120_000); // as long as a worker may be silent
      await page.setInputFiles('#choose', [SMALL, `${PICTURES}/gray.png`, `${PICTURES}/tiny.png`]);
      await card(page, 'working', 0);
      await patience();
      await card(page, 'done', 0);
      await card(page, 'working', 1);
      await patience();
      // The fresh worker has its say as soon as it is ready, and is waited for anew.
      const gray = page.locator('.card').nth(1);
      while ((await gray.getAttribute('data-state')) === 'working') {
        await patience();
      }
      const dead = await card(page, 'failed', 1);
      assert.match((await dead.textContent()) ?? '', /stopped in the middle, twice/);
      await card(page, 'done', 2);
      await page.setInputFiles('#choose', `${PICTURES}/gray.png`);
      await page.getByRole('button', {name: 'Cancel gray.png'}).click();
      await patience();
      await card(page, 'cancelled', 3);
    });
  });

  test('a phone that sleeps in the middle goes on where it was', async (browser) => {
    await onPage(browser, SITE, async (page) => {
      await page.clock.install();
      await page.evaluate(() => {
        const {postMessage} = Worker.prototype;
        Worker.prototype.postMessage = function (message, ...rest) {
          if (message.type === 'restore') {
            globalThis.wake = () => postMessage.call(this, message, ...rest);
          } else {
            postMessage.call(this, message, ...rest);
          }
        };
      });
      await page.setInputFiles('#choose', SMALL);
      await card(page, 'working');
      await page.clock.fastForward('30:00'); // the time that has passed, not the timers in it
      const workers = page.workers().length;
      await page.evaluate(() => globalThis.wake());
      await card(page, 'done');
      assert.equal(page.workers().length, workers);
    });
  });

  test('without a network', async (browser) => {
    await onPage(browser, SITE, async (page) => {
      await page.locator('#offline', {hasText: 'works without a network'}).waitFor();
      await page.context().setOffline(true);
      await page.reload();
      await ready(page);
      assert.equal(await page.evaluate(() => self.crossOriginIsolated), true);
      await page.getByRole('button', {name: 'Try a sample'}).click();
      await card(page, 'done');
    }, KEPT);
  });

  test('a host that sends no headers, below its root', async (browser) => {
    await onPage(browser, PLAIN_SITE, async (page) => {
      await page.waitForFunction(() => self.crossOriginIsolated, null, {timeout: 60_000});
      await ready(page);
      assert.equal(await page.locator('#backend').getAttribute('data-accelerator'), 'wasm');
      await page.setInputFiles('#choose', SMALL);
      await card(page, 'done');
      await page.context().setOffline(true);
      await page.reload();
      await ready(page);
      await page.setInputFiles('#choose', SMALL);
      await card(page, 'done');
    }, KEPT);
  });

  test('other pages of the host, below this one, are left as they are', async (browser) => {
    await onPage(browser, PLAIN_SITE, async (page) => {
      await page.waitForFunction(() => self.crossOriginIsolated, null, {timeout: 60_000});
      await ready(page);
      await page.goto(`${PLAIN_SITE}album/`);
      assert.equal(await page.title(), "Somebody's album");
      assert.equal(await page.evaluate(() => self.crossOriginIsolated), false);
      // However somebody came to it, the page itself is isolated.
      await page.goto(`${PLAIN_SITE}?from=album`);
      await ready(page);
      assert.equal(await page.evaluate(() => self.crossOriginIsolated), true);
    }, KEPT);
  });

  test('a new version comes with all of its files, when nothing is lost', async (browser) => {
    const files = process.env.CHANGING_FOLDER;
    const publish = (/** @type {string} */ version) => {
      const change = (name, old, fresh) =>
        writeFileSync(`${files}/${name}`, readFileSync(`${files}/${name}`, 'utf8').replace(old, fresh));
      change('index.html', /<h1>.*<\/h1>/, `<h1>${version}</h1>`);
      // What one file takes from another gets another name.
      change('restorer.js', /export async function \w+\(/, `export async function restore${version}(`);
      change('worker.js', /restore\w*: restorePixels/, `restore${version}: restorePixels`);
      change('service_worker.js', /"version": "\w+"/, `"version": "${version}"`);
    };
    const context = await browser.newContext();
    const settled = async (page) => {
      await ready(page);
      await page.locator('#offline', {hasText: 'works without a network'}).waitFor();
    };
    publish('First');
    let page = await context.newPage();
    await page.goto(CHANGING_SITE);
    await page.waitForFunction(() => self.crossOriginIsolated);
    await settled(page);
    await page.reload();
    await settled(page);
    assert.equal(await page.locator('h1').textContent(), 'First');
    await page.close();

    // A page in use goes on as it is, also while another one is opened.
    page = await context.newPage();
    await page.goto(CHANGING_SITE);
    await settled(page);
    await page.setInputFiles('#choose', SMALL);
    await card(page, 'done', 0);
    publish('Second');
    await page.evaluate(async () => {
      const registration = await navigator.serviceWorker.getRegistration();
      await registration?.update();
      for (let wait = 0; wait < 100 && !registration?.waiting; wait++) {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    });
    const other = await context.newPage();
    await other.goto(CHANGING_SITE);
    await settled(other);
    await page.setInputFiles('#choose', SMALL);
    await card(page, 'done', 1);
    const later = await page.evaluate(async () => (await fetch('restorer.js')).text());
    assert.match(later, /function restoreFirst\(/);
    await page.close();

    // The next one that is opened alone is the new version.
    await other.reload();
    await other.locator('h1', {hasText: 'Second'}).waitFor();
    await settled(other);
    await other.setInputFiles('#choose', SMALL);
    await card(other, 'done');
    await context.close();
  });

  test('what cannot be kept for later is said', async (browser) => {
    await onPage(browser, INCOMPLETE_SITE, async (page) => {
      await page.locator('#offline', {hasText: 'could not be kept'}).waitFor();
    }, KEPT);
  });

  test('storage that is blocked, and no headers', async (browser) => {
    const context = await browser.newContext();
    const page = await context.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    await page.addInitScript(() => {
      Object.defineProperty(self, 'sessionStorage', {
        get() {
          throw new DOMException('denied', 'SecurityError');
        },
      });
    });
    await page.goto(PLAIN_SITE);
    await ready(page);
    await page.locator('#offline', {hasText: 'works without a network'}).waitFor();
    assert.deepEqual(errors, []);
    await context.close();
  });

  test('an address without HTTPS', async (browser) => {
    await onPage(browser, PLAIN_SITE.replace('127.0.0.1', PHONE_HOST), async (page) => {
      await page.locator('#offline', {hasText: 'no HTTPS'}).waitFor();
      await page.setInputFiles('#choose', SMALL);
      await card(page, 'done');
    }, KEPT);
  });

  test('no isolation: the build without threads', async (browser) => {
    await onPage(
      browser,
      PLAIN_SITE,
      async (page) => {
        assert.equal(await page.evaluate(() => self.crossOriginIsolated), false);
        assert.match((await page.textContent('#backend')) ?? '', /WebAssembly, 1 thread$/);
        await page.setInputFiles('#choose', `${PICTURES}/one_thread.png`);
        await download(page, await card(page, 'done'), RESULTS);
      },
    );
  });

  test('names for everything, room on a small screen', async (browser) => {
    await onPage(
      browser,
      SITE,
      async (page) => {
        await page.setInputFiles('#choose', SMALL);
        await card(page, 'done');
        const controls = page.locator('a[href], button, input, select').filter({visible: true});
        for (const control of await controls.all()) {
          const tree = await control.ariaSnapshot();
          assert.match(tree, /"[^"]+"/, `no name: ${tree}`);
        }
        for (const width of [320, 240, 200]) {
          await page.setViewportSize({width, height: 640});
          const wide = await page.evaluate(() => document.documentElement.scrollWidth);
          assert.ok(wide <= width, `${wide} pixels wide in ${width}`);
        }
      },
      {viewport: {width: 320, height: 640}},
    );
  });

  test('by keyboard alone', async (browser) => {
    await onPage(
      browser,
      SITE,
      async (page) => {
        const focused = () =>
          page.evaluate(() => {
            const {id, dataset, type} = document.activeElement;
            return id || dataset.part || type;
          });
        const press = async (key) => {
          await page.keyboard.press(key);
          return focused();
        };
        // Neither coming nor being restored moves the place that Tab goes on from.
        await fire(page, 'drop', SMALL, 'image/png');
        await card(page, 'done', 0);
        assert.equal(await press('Tab'), 'choose');
        await page.setInputFiles('#choose', LARGE);
        await page.locator('.card', {hasText: 'Looking at the whole picture'}).waitFor();
        const order = [await focused()];
        for (let step = 0; step < 7; step++) {
          order.push(await press('Tab'));
        }
        const ofCards = ['range', 'download', 'remove', 'cancel'];
        assert.deepEqual(order, ['choose', 'sample', 'model', 'webgpu', ...ofCards]);
        // A button that goes away hands the focus on.
        await page.keyboard.press('Enter');
        await card(page, 'cancelled', 1);
        assert.equal(await focused(), 'again');
        assert.equal(await press('Enter'), 'cancel');
        await page.keyboard.press('Enter');
        await card(page, 'cancelled', 1);
        assert.equal(await press('Tab'), 'remove');
        assert.equal(await press('Enter'), 'download');
        assert.equal(await press('Tab'), 'remove');
        assert.equal(await press('Enter'), 'choose');
      },
      // So small that pictures come below what is in view.
      {viewport: {width: 320, height: 640}},
    );
  });

  test('a model that could not be loaded is asked for again', async (browser) => {
    const context = await browser.newContext({serviceWorkers: 'block'});
    const page = await context.newPage();
    for (const missing of ['**/models.json', '**/*.wasm.gz', '**/*.tflite']) {
      await context.route(missing, (route) => route.abort());
    }
    await page.goto(SITE);
    const alert = page.getByRole('alert').filter({hasText: 'could not be loaded'});
    await alert.waitFor();
    for (const found of ['**/models.json', '**/*.wasm.gz']) {
      await context.unroute(found);
      await page.setInputFiles('#choose', SMALL);
      await alert.waitFor();
    }
    await card(page, 'failed', 1);
    await context.unroute('**/*.tflite');
    await page.getByRole('button', {name: 'Restore again small.png'}).first().click();
    await card(page, 'done', 0);
    assert.equal(await alert.isHidden(), true);
    await context.close();
  });

  for (const missing of ['worker.js', 'problems.js', 'restorer.js', 'litert_wasm_threaded_internal.js']) {
    test(`a network that goes away before ${missing} is loaded`, async (browser) => {
      const context = await browser.newContext({serviceWorkers: 'block'});
      const page = await context.newPage();
      let ofPage = missing === 'problems.js'; // which is loaded there before it is in the worker
      await context.route(`**/${missing}`, (route) => {
        if (ofPage) {
          ofPage = false;
          return route.continue();
        }
        return route.abort();
      });
      await page.goto(SITE);
      await page.getByRole('alert').filter({hasText: 'could not be loaded. Check the conn'}).waitFor();
      await context.unroute(`**/${missing}`);
      await page.setInputFiles('#choose', SMALL);
      await card(page, 'done');
      // Whatever a picture needs is there by now.
      await context.setOffline(true);
      await page.setInputFiles('#choose', SMALL);
      await card(page, 'done', 1);
      await context.close();
    });
  }

  test('WebGPU is asked for, and there is none', async (browser) => {
    await onPage(browser, SITE, async (page) => {
      await page.check('#webgpu');
      await page.locator('#backend', {hasText: 'finds no graphics card'}).waitFor();
      await page.setInputFiles('#choose', SMALL);
      await card(page, 'done');
    });
  });
});

describe('the page with WebGPU', () => {
  const test = browserTests(WITH_WEBGPU);

  test('runs where it agrees with WebAssembly', async (browser) => {
    await onPage(browser, SITE, async (page) => {
      await page.check('#webgpu');
      await page.locator('#backend', {hasText: 'Runs on WebGPU'}).waitFor({timeout: 120_000});
      await page.setInputFiles('#choose', `${PICTURES}/webgpu.png`);
      await download(page, await card(page, 'done'), RESULTS);
    });
  });

  test('falls back where it does not, and says so', async (browser) => {
    await onPage(browser, STRICT_SITE, async (page) => {
      await page.check('#webgpu');
      const backend = page.locator('#backend', {hasText: /WebAssembly, .*came out wrong/});
      await backend.waitFor({timeout: 120_000});
      await page.setInputFiles('#choose', SMALL);
      await card(page, 'done');
    });
  });
});
