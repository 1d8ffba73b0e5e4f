/**
 * WebGPU, believed only as far as it has been checked.
 *
 * On some graphics cards a compiled model is right on its first inference only, so several are
 * compared with WebAssembly before the first picture.
 */

import {CompiledFile} from './runtime.js';

/** Inferences that are compared. */
const WARM_UPS = 3;
/** Half a level of 255: more could change a pixel by more than one level. */
const LARGEST_DIFFERENCE = 0.5 / 255;

/**
 * @param {Uint8Array} bytes of the model file
 * @param {CompiledFile} reference the same, on WebAssembly
 * @returns {Promise<{model: CompiledFile | null, reason: string}>} no model where WebGPU cannot be
 *   used, and why
 */
export async function compileForWebGpu(bytes, reference) {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) {
    return {model: null, reason: 'this browser finds no graphics card for WebGPU'};
  }
  /** @type {CompiledFile | null} */
  let model = null;
  try {
    model = await CompiledFile.compile(bytes, 'webgpu');
    const reason = await firstFault(model, reference);
    if (reason === null) {
      return {model, reason: ''};
    }
    model.delete();
    return {model: null, reason};
  } catch (error) {
    model?.delete();
    const text = error instanceof Error ? error.message : String(error);
    return {model: null, reason: `WebGPU failed (${text})`};
  }
}

/**
 * @param {CompiledFile} model
 * @param {CompiledFile} reference
 */
async function firstFault(model, reference) {
  if (!model.accelerated) {
    return 'the graphics card does not run all of the model';
  }
  for (let warmUp = 0; warmUp < WARM_UPS; warmUp++) {
    const values = pattern(model.size, warmUp);
    let found = await model.run(values);
    let expected = await reference.run(values);
    if (model.statistics !== null && warmUp > 0) {
      const statistics = await reference.measure(values);
      found = (await model.runGuided(values, statistics)).derained;
      expected = (await reference.runGuided(values, statistics)).derained;
    }
    const difference = largestDifference(found, expected);
    if (!(difference <= LARGEST_DIFFERENCE)) {
      return `on this graphics card inference ${warmUp + 1} came out wrong`;
    }
  }
  return null;
}

/**
 * Gradients with streaks, another one for every `seed`.
 * @param {[number, number]} size
 * @param {number} seed
 */
function pattern([height, width], seed) {
  return Float32Array.from({length: height * width * 3}, (_, index) => {
    const pixel = Math.floor(index / 3);
    const [y, x] = [Math.floor(pixel / width), pixel % width];
    const streak = (x * 7 + y * (3 + seed)) % (23 + seed) === 0 ? 0.35 : 0;
    return Math.min(1, (0.6 * (x + y + index % 3)) / (width + height) + streak);
  });
}

/**
 * @param {Float32Array} first
 * @param {Float32Array} second
 */
function largestDifference(first, second) {
  let largest = 0;
  for (let index = 0; index < first.length; index++) {
    const difference = Math.abs(first[index] - second[index]);
    if (Number.isNaN(difference)) {
      return Number.NaN;
    }
    largest = Math.max(largest, difference);
  }
  return largest;
}
