/**
 * LiteRT in the browser: loads the WebAssembly build that fits, compiles models, runs them.
 *
 * For classic workers only: LiteRT loads its own script with `importScripts`.
 */

import {hasSimd, hasThreads, threadCount} from './features.js';
import {Problem} from './problems.js';
import * as litert from './vendor/litert.js';

/** @typedef {'wasm' | 'webgpu'} Accelerator */
/** @typedef {import('./restorer.js').Model} Model */

/** Threads that this worker's runtime uses; 0 until it is loaded. */
let threads = 0;

/**
 * Loads the runtime, once per worker.
 * @returns {Promise<{threads: number}>}
 */
export async function loadRuntime() {
  if (!hasSimd()) {
    throw new Problem(
      'This browser has no WebAssembly SIMD, which restoring needs. Any browser of 2023 or later ' +
        'has it.',
    );
  }
  const threaded = hasThreads();
  const build = `litert_wasm_${threaded ? 'threaded' : 'compat'}_internal`;
  const script = new URL(`vendor/${build}.js`, import.meta.url).href;
  const binary = await unpacked(new URL(`vendor/${build}.wasm.gz`, import.meta.url).href);
  Object.assign(self, {
    Module: {
      locateFile: () => binary,
      // Without this the threads start from the worker's own script.
      mainScriptUrlOrBlob: script,
      printErr: log,
    },
  });
  await quietly(() => litert.loadLiteRt(script));
  URL.revokeObjectURL(binary);
  threads = threaded ? threadCount() : 1;
  return {threads};
}

/**
 * A blob URL of a gzipped file. Some hosts unpack it on the way; its first bytes tell.
 * @param {string} url
 */
async function unpacked(url) {
  const response = await fetch(url);
  if (!response.ok) {
    throw new Problem(`A part of this page is missing (${url}). Install it again.`);
  }
  let content = new Uint8Array(await response.arrayBuffer());
  if (content[0] === 0x1f && content[1] === 0x8b) {
    const stream = new Blob([content]).stream().pipeThrough(new DecompressionStream('gzip'));
    content = new Uint8Array(await new Response(stream).arrayBuffer());
  }
  return URL.createObjectURL(new Blob([content], {type: 'application/wasm'}));
}

/**
 * LiteRT writes everything to standard error, also what is no error.
 * @param {string} line
 */
function log(line) {
  if (line.startsWith('ERROR')) {
    console.error(line);
  } else {
    console.debug(line);
  }
}

/**
 * LiteRT asks for a graphics card while it loads, and warns where there is none.
 * @template T
 * @param {() => Promise<T>} action
 * @returns {Promise<T>}
 */
async function quietly(action) {
  const {warn} = console;
  console.warn = console.debug;
  try {
    return await action();
  } finally {
    console.warn = warn;
  }
}

/**
 * A `.tflite` file, ready to run. Its memory is freed by `delete` alone.
 * @implements {Model}
 */
export class CompiledFile {
  /** @param {litert.CompiledModel} model */
  constructor(model) {
    this.model = model;
    /** @type {Partial<Record<string, litert.SignatureRunner>>} */
    const signatures = model.signatures;
    const {guided, statistics} = signatures;
    const runner = signatures.serving_default ?? model;
    const [rainy] = runner.getInputDetails();
    const [batch, height, width, channels] = rainy.shape;
    if (rainy.shape.length !== 4 || batch !== 1 || channels !== 3 || rainy.dtype !== 'float32') {
      throw new Problem('This model file is not one that derains pictures.');
    }
    this.runner = runner;
    this.input = rainy.name;
    this.output = runner.getOutputDetails()[0].name;
    /** @type {[number, number]} */
    this.size = [height, width];
    const guides = guided?.getOutputDetails().length ?? 0;
    /** @type {'given' | 'iterated' | null} */
    this.statistics = guided && statistics ? (guides > 1 ? 'iterated' : 'given') : null;
    this.run = this.run.bind(this);
    this.measure = this.measure.bind(this);
  }

  /**
   * @param {Uint8Array} bytes of the file
   * @param {Accelerator} accelerator
   */
  static async compile(bytes, accelerator) {
    const options = {
      accelerator,
      cpuOptions: {numThreads: threads},
      // The picture is to be the same on every device.
      gpuOptions: {precision: /** @type {const} */ ('fp32')},
    };
    return new CompiledFile(await litert.loadAndCompile(bytes, options));
  }

  /** Whether every operator runs on the accelerator that was asked for. */
  get accelerated() {
    return this.model.options.accelerator !== 'wasm' && this.model.isFullyAccelerated;
  }

  /** @param {Float32Array} values one picture of `size`, RGB in [0, 1] */
  async run(values) {
    return (await this.feed(this.runner, {[this.input]: values}))[this.output];
  }

  /** @param {Float32Array} values */
  async measure(values) {
    return (await this.feed(this.model.signatures.statistics, {rainy: values})).statistics;
  }

  /**
   * @param {Float32Array} values
   * @param {Float32Array} statistics
   */
  async runGuided(values, statistics) {
    const {guided} = this.model.signatures;
    const found = await this.feed(guided, {rainy: values, statistics});
    return {derained: found.derained, statistics: found.statistics ?? null};
  }

  /**
   * @param {litert.SignatureRunner} runner
   * @param {Record<string, Float32Array>} inputs by name
   * @returns {Promise<Record<string, Float32Array>>}
   */
  async feed(runner, inputs) {
    const tensors = Object.fromEntries(
      runner
        .getInputDetails()
        .map(({name, shape}) => [name, new litert.Tensor(inputs[name], shape)]),
    );
    try {
      const outputs = await runner.run(tensors);
      try {
        const found = Object.entries(outputs).map(async ([name, tensor]) => [
          name,
          await tensor.data(),
        ]);
        return Object.fromEntries(await Promise.all(found));
      } finally {
        Object.values(outputs).forEach((tensor) => tensor.delete());
      }
    } finally {
      Object.values(tensors).forEach((tensor) => tensor.delete());
    }
  }

  delete() {
    this.model.delete();
  }
}
