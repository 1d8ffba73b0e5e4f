/** Pictures in files: what the browser decodes, and what is written back. In the worker. */

import {forUprightPicture, orientationOf} from './exif.js';
import {findExif, kindOf, sizeOf, withExif, withoutExif} from './metadata.js';
import {Problem} from './problems.js';

/** Pixels beyond this number would need some gigabytes. */
export const MOST_PIXELS = 64e6;
const QUALITY = 0.95;
/** A colour, opaque, that a canvas is tried with. */
const TRIAL = [64, 128, 192, 255];
/** Some browsers change what is read by a level or so, against fingerprinting, which does no harm. */
const HARMLESS = 4;

/** What is written for each kind that is read; a canvas writes no others. */
const WRITTEN = {
  jpeg: {type: 'image/jpeg', suffixes: ['jpg', 'jpeg', 'jfif']},
  png: {type: 'image/png', suffixes: ['png']},
  webp: {type: 'image/webp', suffixes: ['webp']},
  other: {type: 'image/png', suffixes: ['png']},
};

/**
 * How a stored picture of w x h becomes upright, for each EXIF orientation above 1: the arguments of
 * a canvas' `setTransform`.
 * @type {Record<number, (w: number, h: number) => [number, number, number, number, number, number]>}
 */
const TURNS = {
  2: (w) => [-1, 0, 0, 1, w, 0],
  3: (w, h) => [-1, 0, 0, -1, w, h],
  4: (_, h) => [1, 0, 0, -1, 0, h],
  5: () => [0, 1, 1, 0, 0, 0],
  6: (_, h) => [0, 1, -1, 0, h, 0],
  7: (w, h) => [0, -1, -1, 0, h, w],
  8: (w) => [0, -1, 1, 0, 0, w],
};

/**
 * @typedef {object} Picture
 * @property {ImageData} pixels upright, in sRGB
 * @property {keyof typeof WRITTEN} kind of the file
 * @property {Uint8Array | null} exif ready to be written
 * @property {boolean} turned whether it was turned here, so that the browser may show the file itself
 *   in another way
 */

/**
 * @param {File} file
 * @returns {Promise<Picture>}
 */
export async function readPicture(file) {
  const bytes = await contentOf(file);
  const kind = kindOf(bytes);
  // Where the file says it, before the browser decodes it: that alone may need more than a phone has.
  refuseTooLarge(...(sizeOf(bytes) ?? [0, 0]));
  const exif = findExif(bytes);
  // All browsers turn JPEG files. Not all turn PNG and WebP: these are decoded as they are stored.
  const turned = kind !== 'jpeg' && exif !== null && orientationOf(exif) > 1;
  const stored = turned ? new Blob([/** @type {BlobPart} */ (withoutExif(bytes))]) : file;
  const bitmap = await decoded(stored, kind);
  try {
    const pixels = uprightPixels(bitmap, turned ? orientationOf(exif) : 1);
    const {width, height} = pixels;
    return {pixels, kind, exif: exif && forUprightPicture(exif, width, height), turned};
  } finally {
    bitmap.close();
  }
}

/** @param {File} file */
async function contentOf(file) {
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch (error) {
    if (!(error instanceof DOMException)) {
      throw error;
    }
    throw new Problem(
      'This cannot be read: it is a folder, or a file that has been changed, moved or deleted since ' +
        'it was chosen. Choose the picture itself, once more.',
      {cause: error},
    );
  }
}

/**
 * @param {Blob} stored
 * @param {keyof typeof WRITTEN} kind
 */
async function decoded(stored, kind) {
  /** @type {ImageBitmap} */
  let bitmap;
  try {
    bitmap = await createImageBitmap(stored);
  } catch (error) {
    throw new Problem(
      kind === 'other'
        ? 'This browser cannot read this file as a picture. JPEG, PNG and WebP always work.'
        : `This ${kind === 'webp' ? 'WebP' : kind.toUpperCase()} file cannot be read: it is damaged, ` +
          'lacks its end, as after a download that broke off, or is of a rare kind. Get it once more, ' +
          'or save it anew in another program.',
      {cause: error},
    );
  }
  try {
    refuseTooLarge(bitmap.width, bitmap.height);
  } catch (error) {
    bitmap.close();
    throw error;
  }
  return bitmap;
}

/**
 * @param {number} width
 * @param {number} height
 */
function refuseTooLarge(width, height) {
  const pixels = width * height;
  if (pixels > MOST_PIXELS) {
    const megapixels = (pixels / 1e6).toLocaleString('en', {maximumSignificantDigits: 4});
    throw new Problem(
      `This picture has ${megapixels} megapixels; the page takes up to ` +
        `${MOST_PIXELS / 1e6}. The command line takes larger ones.`,
    );
  }
}

/**
 * @param {ImageBitmap} bitmap
 * @param {number} orientation
 */
function uprightPixels(bitmap, orientation) {
  const sides = [bitmap.width, bitmap.height];
  const [width, height] = orientation >= 5 ? sides.reverse() : sides;
  const context = contextOf(width, height);
  if (orientation > 1) {
    context.setTransform(...TURNS[orientation](bitmap.width, bitmap.height));
  }
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, width, height);
}

/**
 * @param {Picture} like what the pixels came from
 * @param {ImageData} pixels
 * @returns {Promise<Blob>} of the same kind where the browser can write it, else PNG
 */
export async function writePicture(like, pixels) {
  const {width, height} = pixels;
  const {type} = WRITTEN[like.kind];
  const blob = await canvasOf(pixels).convertToBlob({type, quality: QUALITY});
  if (like.exif === null) {
    return blob;
  }
  const file = new Uint8Array(await blob.arrayBuffer());
  const whole = /** @type {BlobPart} */ (withExif(file, like.exif, width, height));
  return new Blob([whole], {type: blob.type});
}

/** @param {ImageData} pixels */
export function pngOf(pixels) {
  return canvasOf(pixels).convertToBlob({type: 'image/png'});
}

/**
 * The name of the restored file: the old one, with another suffix where the format had to change.
 * @param {string} name
 * @param {string} type of what is written
 */
export function nameFor(name, type) {
  const {suffixes} = Object.values(WRITTEN).find((entry) => entry.type === type) ?? WRITTEN.other;
  const dot = name.lastIndexOf('.');
  const suffix = dot < 0 ? '' : name.slice(dot + 1).toLowerCase();
  return suffixes.includes(suffix) ? name : `${dot > 0 ? name.slice(0, dot) : name}.${suffixes[0]}`;
}

/** @param {ImageData} pixels */
function canvasOf(pixels) {
  const context = contextOf(pixels.width, pixels.height);
  context.putImageData(pixels, 0, 0);
  return context.canvas;
}

/**
 * @param {number} width
 * @param {number} height
 */
function contextOf(width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const read = context === null ? [0, 0, 0, 0] : drawnAndRead(context);
  if (context === null || read.every((value) => value === 0)) {
    throw new Problem(
      `This browser has no room for a picture of ${width} × ${height} pixels. The command line takes ` +
        'larger ones.',
    );
  }
  if (read.some((value, index) => Math.abs(value - TRIAL[index]) > HARMLESS)) {
    throw new Problem(
      'This browser hides the pixels of pictures from pages (protection from fingerprinting): a noise ' +
        'would be restored. Allow this page to read canvas data, or use another browser.',
    );
  }
  return context;
}

/**
 * What a new canvas gives back of `TRIAL`. One that is too large, or too long, has no pixels, and the
 * browser says nothing; nor does it where it gives out other ones.
 * @param {OffscreenCanvasRenderingContext2D} context
 */
function drawnAndRead(context) {
  const last = /** @type {const} */ ([context.canvas.width - 1, context.canvas.height - 1, 1, 1]);
  const [red, green, blue] = TRIAL;
  context.fillStyle = `rgb(${red} ${green} ${blue})`;
  context.fillRect(...last);
  const read = [...context.getImageData(...last).data];
  context.clearRect(...last);
  return read;
}
