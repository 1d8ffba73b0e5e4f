/**
 * The inference path of the page: a picture of any size through a network of fixed size.
 *
 * Where the model offers it, every tile is attended by the statistics of the whole picture, so that
 * tiles agree with one another in brightness. The result equals that of `mspfn_tf.Restorer` working
 * in tiles, up to one level of 255.
 */

import {roundUp, spans, touching, windowOf} from './tiling.js';

/**
 * @typedef {object} Model what `runtime.js` compiles
 * @property {[number, number]} size height and width of what goes through at once
 * @property {'given' | 'iterated' | null} statistics whether `runGuided` takes the statistics of the
 *   whole picture; 'iterated' if those depend on the ones in use
 * @property {(values: Float32Array) => Promise<Float32Array>} run
 * @property {(values: Float32Array) => Promise<Float32Array>} measure
 * @property {(values: Float32Array, statistics: Float32Array) =>
 *   Promise<{derained: Float32Array, statistics: Float32Array | null}>} runGuided
 */

/**
 * @typedef {object} Progress
 * @property {'measuring' | 'restoring'} phase whether the statistics of the whole picture are measured,
 *   which comes first, or its tiles restored
 * @property {number} done parts of this phase
 * @property {number} total
 * @property {number} share of all work that is done, 0 to 1
 */

/** Share of a tile's side that neighbours share at least, as for all models of fixed size. */
const OVERLAP = 1 / 4;
/** A picture whose channels differ by at most so many levels anywhere is gray. */
const GRAY_LEVELS = 2;
/** Pictures with a shorter side show too little of a scene to tell rain from it, and change less. */
const FULL_STRENGTH_SIDE = 32;
/** How often the statistics of a picture are measured. */
const ROUNDS = {given: 1, iterated: 2};
/** About the share of a tile's time that measuring takes of a part, for the shipped models 1/25 to 1/12. */
const MEASURING = 1 / 16;
/** Weights of the rain layer of a gray picture, ITU-R BT.601. */
const LUMA = [0.299, 0.587, 0.114];

/** Thrown where the caller's `checkpoint` ends the work. */
export class Cancelled extends Error {}

/**
 * @param {Model} model
 * @param {ImageData} picture
 * @param {(progress: Progress) => Promise<void>} checkpoint called before each phase and after every
 *   piece of work; it may throw `Cancelled`
 * @returns {Promise<ImageData>} of the same size, the alpha channel unchanged
 */
export async function restore(model, picture, checkpoint) {
  const [tileHeight, tileWidth] = model.size;
  const multipleOf = tileHeight % 8 || tileWidth % 8 ? 1 : 8;
  const height = Math.max(roundUp(picture.height, multipleOf), tileHeight);
  const width = Math.max(roundUp(picture.width, multipleOf), tileWidth);
  const smallest = Math.min(tileHeight, tileWidth);
  const overlap = roundUp(Math.floor(OVERLAP * smallest), multipleOf);
  const rows = spans(height, tileHeight, overlap, multipleOf);
  const columns = spans(width, tileWidth, overlap, multipleOf);
  const total = rows.length * columns.length;
  const rounds = total > 1 && model.statistics !== null ? ROUNDS[model.statistics] : 0;
  const parts = touching(height, tileHeight).length * touching(width, tileWidth).length;
  // After the first round, the whole network runs in order to measure.
  const spent = (/** @type {number} */ measured) =>
    MEASURING * Math.min(measured, parts) + Math.max(measured - parts, 0);
  const before = spent(rounds * parts);

  let measured = 0;
  const measuring = () =>
    checkpoint({
      phase: 'measuring',
      done: measured,
      total: rounds * parts,
      share: spent(measured) / (before + total),
    });
  const restoring = (/** @type {number} */ done) =>
    checkpoint({phase: 'restoring', done, total, share: (before + done) / (before + total)});

  if (rounds > 0) {
    await measuring();
  }
  const derain = await chooseRun(model, picture, [height, width], rounds, () => {
    measured += 1;
    return measuring();
  });
  await restoring(0);
  const gray = isGray(picture);
  const strength = Math.min(1, (Math.min(picture.width, picture.height) / FULL_STRENGTH_SIDE) ** 2);
  const result = new ImageData(picture.width, picture.height);
  /** @type {Float32Array} */
  let band = new Float32Array(tileHeight * width * 3);
  let done = 0;
  for (const [index, row] of rows.entries()) {
    for (const column of columns) {
      const values = windowOf(picture, row.start, column.start, model.size);
      const derained = await derain(values);
      if (total === 1) {
        band = derained;
      } else {
        addWeighted(band, width, derained, row, column);
      }
      done += 1;
      await restoring(done);
    }
    // What the next row of tiles does not reach is finished.
    const below = index + 1 < rows.length ? rows[index + 1].start : height;
    const bottom = Math.min(below, picture.height);
    finishRows(picture, result, band, width, row.start, bottom, gray, strength);
    const finished = (below - row.start) * width * 3;
    band.copyWithin(0, finished);
    band.fill(0, band.length - finished);
  }
  return result;
}

/**
 * How a tile of this picture is derained: on its own, or by the statistics of the whole.
 * @param {Model} model
 * @param {ImageData} picture
 * @param {[number, number]} size height and width of what the tiles cover
 * @param {number} rounds how often its statistics are measured; with 0, it is on its own
 * @param {() => Promise<void>} checkpoint called after each part that was measured
 * @returns {Promise<(values: Float32Array) => Promise<Float32Array>>}
 */
async function chooseRun(model, picture, size, rounds, checkpoint) {
  if (rounds === 0) {
    return model.run;
  }
  let statistics = await meanOverParts(model.measure, picture, size, model.size, checkpoint);
  for (let round = 1; round < rounds; round++) {
    // Measured while the averages are in use, they come closer to those of the whole.
    const given = statistics;
    const measure = async (/** @type {Float32Array} */ values) => {
      const found = await model.runGuided(values, given);
      return /** @type {Float32Array} */ (found.statistics);
    };
    statistics = await meanOverParts(measure, picture, size, model.size, checkpoint);
  }
  const ofWhole = statistics;
  return async (values) => (await model.runGuided(values, ofWhole)).derained;
}

/**
 * The mean over a picture of what is measured of its parts, each by the area that it alone covers.
 * @param {(values: Float32Array) => Promise<Float32Array>} measure
 * @param {ImageData} picture
 * @param {[number, number]} size
 * @param {[number, number]} tile
 * @param {() => Promise<void>} checkpoint
 */
async function meanOverParts(measure, picture, [height, width], tile, checkpoint) {
  /** @type {Float64Array | null} */
  let total = null;
  for (const row of touching(height, tile[0])) {
    for (const column of touching(width, tile[1])) {
      const found = await measure(windowOf(picture, row.start, column.start, tile));
      total ??= new Float64Array(found.length);
      const area = row.alone * column.alone;
      for (let index = 0; index < found.length; index++) {
        total[index] += area * found[index];
      }
      await checkpoint();
    }
  }
  const sums = /** @type {Float64Array} */ (total);
  return Float32Array.from(sums, (sum) => sum / (height * width));
}

/**
 * @param {Float32Array} band RGB rows of `bandWidth` pixels
 * @param {number} bandWidth
 * @param {Float32Array} tile
 * @param {import('./tiling.js').Span} row
 * @param {import('./tiling.js').Span} column
 */
function addWeighted(band, bandWidth, tile, row, column) {
  const width = column.weights.length;
  let from = 0;
  for (let y = 0; y < row.weights.length; y++) {
    const down = row.weights[y];
    let to = (y * bandWidth + column.start) * 3;
    for (let x = 0; x < width; x++) {
      const weight = down * column.weights[x];
      band[to++] += weight * tile[from++];
      band[to++] += weight * tile[from++];
      band[to++] += weight * tile[from++];
    }
  }
}

/**
 * Clips and rounds the rows `top` to `bottom` of a picture.
 * @param {ImageData} rainy
 * @param {ImageData} result
 * @param {Float32Array} band whose first row is row `top`
 * @param {number} bandWidth
 * @param {number} top
 * @param {number} bottom
 * @param {boolean} gray
 * @param {number} strength share of the rain layer that is taken away, 0 to 1
 */
function finishRows(rainy, result, band, bandWidth, top, bottom, gray, strength) {
  for (let y = top; y < bottom; y++) {
    let from = (y - top) * bandWidth * 3;
    let place = y * rainy.width * 4;
    for (let x = 0; x < rainy.width; x++, from += 3, place += 4) {
      let luma = 0;
      if (gray) {
        for (let channel = 0; channel < 3; channel++) {
          const before = rainy.data[place + channel] / 255;
          luma += LUMA[channel] * (before - clipped(band[from + channel]));
        }
      }
      for (let channel = 0; channel < 3; channel++) {
        const before = rainy.data[place + channel] / 255;
        const rain = gray ? luma : before - clipped(band[from + channel]);
        const value = clipped(before - strength * rain);
        result.data[place + channel] = value * 255; // a clamped array rounds to even, like rint
      }
      result.data[place + 3] = rainy.data[place + 3];
    }
  }
}

/** @param {number} value */
const clipped = (value) => Math.min(Math.max(value, 0), 1);

/** @param {ImageData} picture */
function isGray({data}) {
  for (let place = 0; place < data.length; place += 4) {
    const red = data[place];
    const green = data[place + 1];
    const blue = data[place + 2];
    if (Math.max(red, green, blue) - Math.min(red, green, blue) > GRAY_LEVELS) {
      return false;
    }
  }
  return true;
}
