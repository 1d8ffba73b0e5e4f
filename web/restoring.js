/**
 * The page's end of the worker.
 *
 * @typedef {{type: 'prepare', url: string, webgpu: boolean}
 *   | {type: 'restore', id: number, file: File}
 *   | {type: 'cancel', id: number}} Order what the worker is told
 *
 * @typedef {{type: 'ready', accelerator: 'wasm' | 'webgpu', threads: number, note: string}
 *   | {type: 'unready', message: string}} Readiness the answer to `prepare`; `note` says why WebGPU
 *   is not in use although it was asked for
 *
 * @typedef {{type: 'size', id: number, width: number, height: number, before: Blob | null}
 *   | {type: 'progress', id: number} & import('./restorer.js').Progress
 *   | {type: 'done', id: number, blob: Blob, name: string, seconds: number}
 *   | {type: 'cancelled', id: number}
 *   | {type: 'failed', id: number, message: string, broken: boolean}} News of one picture; `before` is
 *   there where the browser might show the file itself in another orientation, `broken` says that the
 *   worker is of no more use
 *
 * @typedef {Readiness | News} Answer what the worker tells
 */

import {inWords} from './problems.js';

/**
 * After so many milliseconds without a word the worker is taken for stuck. A tile takes a slow phone
 * ten seconds or so.
 */
const PATIENCE = 120_000;
/** The milliseconds are counted in steps: a step in which the phone slept counts as one, however long. */
const STEP = 1_000;

export class Restoring {
  /**
   * @param {(readiness: Readiness) => void} onReadiness
   * @param {(news: News) => void} onNews
   */
  constructor(onReadiness, onNews) {
    this.onReadiness = onReadiness;
    this.onNews = onNews;
    /** @type {{id: number, file: File, attempts: number, cancelled: boolean} | null} in work */
    this.working = null;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.silence = undefined;
    /** @type {Extract<Order, {type: 'prepare'}> | null} */
    this.preparation = null;
    /** @type {Worker | null} none once it could not be made ready */
    this.worker = null;
  }

  start() {
    const worker = new Worker('worker.js');
    worker.addEventListener('message', ({data}) => this.receive(/** @type {Answer} */ (data)));
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      this.fail(event.message || 'failed to fetch the worker');
    });
    return worker;
  }

  /**
   * Loads a model. `onReadiness` tells the outcome. After a failure it may be called again.
   * @param {string} url
   * @param {boolean} webgpu whether to try the graphics card
   */
  prepare(url, webgpu) {
    this.preparation = {type: 'prepare', url, webgpu};
    this.worker ??= this.start();
    this.worker.postMessage(this.preparation);
  }

  /**
   * Restores a picture. `onNews` tells how it goes.
   * @param {number} id
   * @param {File} file
   */
  restore(id, file) {
    this.working = {id, file, attempts: 1, cancelled: false};
    this.listen();
    this.tell({type: 'restore', id, file});
  }

  /** @param {number} id */
  cancel(id) {
    if (this.working?.id === id) {
      this.working.cancelled = true;
    }
    this.tell({type: 'cancel', id});
  }

  /** @param {Order} order for a worker that was made ready */
  tell(order) {
    if (this.worker === null) {
      throw new Error('no worker is ready');
    }
    this.worker.postMessage(order);
  }

  /** @param {Answer} report */
  receive(report) {
    this.listen();
    if (report.type === 'ready') {
      this.onReadiness(report);
      return;
    }
    if (report.type === 'unready') {
      this.giveUp(report.message);
      return;
    }
    const ended = report.type !== 'size' && report.type !== 'progress';
    const working = ended ? this.rest() : this.working;
    if (report.type === 'failed' && report.broken) {
      this.restart();
    }
    // One that was cancelled during its last tile is cancelled, too.
    this.onNews(ended && working?.cancelled ? {type: 'cancelled', id: report.id} : report);
  }

  /** Waits for the next word about the picture in work. */
  listen() {
    clearInterval(this.silence);
    if (this.working !== null) {
      let waited = 0;
      this.silence = setInterval(() => {
        waited += STEP;
        if (waited >= PATIENCE) {
          this.replaceStuck();
        }
      }, STEP);
    }
  }

  /** No picture is in work any more. */
  rest() {
    clearInterval(this.silence);
    const {working} = this;
    this.working = null;
    return working;
  }

  /** A worker whose threads wait for one another says nothing more: a fresh one tries once more. */
  replaceStuck() {
    const {working} = this;
    if (working === null) {
      return;
    }
    const {id, file, attempts, cancelled} = working;
    this.restart();
    if (cancelled) {
      this.rest();
      this.onNews({type: 'cancelled', id});
    } else if (attempts > 1) {
      this.rest();
      const message = 'This browser stopped in the middle, twice. Reload the page and try again.';
      this.onNews({type: 'failed', id, message, broken: true});
    } else {
      working.attempts += 1;
      this.listen();
      this.tell({type: 'restore', id, file});
    }
  }

  /** Gives the next picture a fresh worker. */
  restart() {
    this.worker?.terminate();
    this.worker = this.start();
    if (this.preparation !== null) {
      this.worker.postMessage(this.preparation);
    }
  }

  /**
   * There is no worker until the next `prepare`, which takes a fresh one: a runtime that has failed to
   * load stays failed.
   * @param {string} message
   */
  giveUp(message) {
    this.worker?.terminate();
    this.worker = null;
    const working = this.rest();
    this.onReadiness({type: 'unready', message});
    if (working !== null) {
      this.onNews({type: 'failed', id: working.id, message, broken: true});
    }
  }

  /**
   * A worker that has died of one picture is replaced, so that the next one has a chance.
   * @param {string} text
   */
  fail(text) {
    const message = inWords(new Error(text));
    const working = this.rest();
    if (working === null) {
      this.giveUp(message);
      return;
    }
    this.restart();
    this.onNews({type: 'failed', id: working.id, message, broken: true});
  }
}
