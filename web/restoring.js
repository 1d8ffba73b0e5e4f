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

export class Restoring {
  /**
   * @param {(readiness: Readiness) => void} onReadiness
   * @param {(news: News) => void} onNews
   */
  constructor(onReadiness, onNews) {
    this.onReadiness = onReadiness;
    this.onNews = onNews;
    /** @type {number | null} the picture in work */
    this.working = null;
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
      this.fail(event.message || 'the worker could not start');
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
    this.working = id;
    this.tell({type: 'restore', id, file});
  }

  /** @param {number} id */
  cancel(id) {
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
    if (report.type === 'ready') {
      this.onReadiness(report);
      return;
    }
    if (report.type === 'unready') {
      this.giveUp(report.message);
      return;
    }
    if (report.type !== 'size' && report.type !== 'progress') {
      this.working = null;
    }
    if (report.type === 'failed' && report.broken) {
      this.restart();
    }
    this.onNews(report);
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
    const id = this.working;
    this.working = null;
    this.onReadiness({type: 'unready', message});
    if (id !== null) {
      this.onNews({type: 'failed', id, message, broken: true});
    }
  }

  /**
   * A worker that has died of one picture is replaced, so that the next one has a chance.
   * @param {string} text
   */
  fail(text) {
    const message = inWords(new Error(text));
    const id = this.working;
    if (id === null) {
      this.giveUp(message);
      return;
    }
    this.working = null;
    this.restart();
    this.onNews({type: 'failed', id, message, broken: true});
  }
}
