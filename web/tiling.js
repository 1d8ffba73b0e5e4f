/**
 * Pictures in tiles: reflection at the edges, overlapping windows, weights that sum to one.
 *
 * The same arithmetic as mspfn_tf/tiling.py, so that the page restores a picture as the command
 * line does.
 */

/**
 * @typedef {object} Span one tile along one axis
 * @property {number} start first pixel
 * @property {Float32Array} weights one per pixel of the tile
 */

/**
 * The smallest multiple of `multiple` that is at least `length`.
 * @param {number} length
 * @param {number} multiple
 */
export function roundUp(length, multiple) {
  return Math.ceil(length / multiple) * multiple;
}

/**
 * Places overlapping tiles along one axis. At every pixel the weights of the tiles that cover it
 * sum to one. Over the middle half of the overlap they fall off as a squared sine; what lies nearer
 * to the edge of a tile counts for nothing.
 * @param {number} length pixels to cover, at least `tile`
 * @param {number} tile pixels of one tile
 * @param {number} overlap pixels that neighbours share at least, less than `tile`
 * @param {number} multipleOf tiles start at multiples of this
 * @returns {Span[]}
 */
export function spans(length, tile, overlap, multipleOf) {
  if (tile === length) {
    return [{start: 0, weights: new Float32Array(tile).fill(1)}];
  }
  let stride = tile - overlap;
  stride = Math.floor(stride / multipleOf) * multipleOf || stride;
  const starts = [];
  for (let start = 0; start < length - tile; start += stride) {
    starts.push(start);
  }
  starts.push(length - tile);

  const ramp = Float64Array.from(
    {length: overlap},
    (_, index) => {
      const along = Math.min(Math.max((2 * (index + 0.5)) / overlap - 0.5, 0), 1);
      return Math.sin(0.5 * Math.PI * along) ** 2;
    },
  );
  const weights = starts.map((_, index) => {
    const weight = new Float64Array(tile).fill(1);
    for (let pixel = 0; pixel < overlap; pixel++) {
      if (index > 0) {
        weight[pixel] *= ramp[pixel];
      }
      if (index < starts.length - 1) {
        weight[tile - 1 - pixel] *= ramp[pixel];
      }
    }
    return weight;
  });
  const total = new Float64Array(length);
  starts.forEach((start, index) => {
    weights[index].forEach((weight, pixel) => {
      total[start + pixel] += weight;
    });
  });
  return starts.map((start, index) => ({
    start,
    weights: Float32Array.from(weights[index], (weight, pixel) => weight / total[start + pixel]),
  }));
}

/**
 * Parts that touch and overlap as little as their size allows.
 * @param {number} length pixels to cover, at least `tile`
 * @param {number} tile pixels of one part
 * @returns {{start: number, alone: number}[]} first pixel; pixels that no earlier part covers
 */
export function touching(length, tile) {
  const parts = [];
  let covered = 0;
  for (let next = 0; covered < length; next += tile) {
    const start = Math.min(next, length - tile);
    parts.push({start, alone: start + tile - covered});
    covered = start + tile;
  }
  return parts;
}

/**
 * The places start .. start + count - 1 of an axis of `length` that goes on by reflection, as often
 * as needed: a single pixel can fill any size.
 * @param {number} start
 * @param {number} count
 * @param {number} length
 * @returns {Int32Array}
 */
export function reflected(start, count, length) {
  const period = Math.max(2 * (length - 1), 1);
  return Int32Array.from({length: count}, (_, index) => {
    const place = (start + index) % period;
    return Math.min(place, period - place);
  });
}

/**
 * One window of a picture as the network takes it, continued by reflection.
 * @param {ImageData} picture
 * @param {number} top
 * @param {number} left
 * @param {[number, number]} size height and width of the window
 * @returns {Float32Array} RGB in [0, 1], row by row
 */
export function windowOf(picture, top, left, [height, width]) {
  const {data} = picture;
  const rows = reflected(top, height, picture.height);
  const columns = reflected(left, width, picture.width).map((column) => 4 * column);
  const values = new Float32Array(height * width * 3);
  let place = 0;
  for (const row of rows) {
    const line = row * picture.width * 4;
    for (const column of columns) {
      values[place++] = LEVELS[data[line + column]];
      values[place++] = LEVELS[data[line + column + 1]];
      values[place++] = LEVELS[data[line + column + 2]];
    }
  }
  return values;
}

/** A byte as a value in [0, 1], rounded as float32 division rounds it. */
const LEVELS = Float32Array.from({length: 256}, (_, level) => level / 255);
