/** Pictures in files: what the browser decodes, and what is written back. In the worker. */

import {forUprightPicture} from './exif.js';
import {findExif, kindOf, withExif} from './metadata.js';
import {Problem} from './problems.js';

/** Pixels beyond this number would need some gigabytes. */
export const MOST_PIXELS = 64e6;
const QUALITY = 0.95;

/** What is written for each kind that is read; a canvas writes no others. */
const WRITTEN = {
  jpeg: {type: 'image/jpeg', suffixes: ['jpg', 'jpeg', 'jfif']},
  png: {type: 'image/png', suffixes: ['png']},
  webp: {type: 'image/webp', suffixes: ['webp']},
  other: {type: 'image/png', suffixes: ['png']},
};

/**
 * @typedef {object} Picture
 * @property {ImageData} pixels upright, in sRGB
 * @property {keyof typeof WRITTEN} kind of the file
 * @property {Uint8Array | null} exif ready to be written
 */

/**
 * @param {File} file
 * @returns {Promise<Picture>}
 */
export async function readPicture(file) {
  /** @type {ImageBitmap} */
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {imageOrientation: 'from-image'});
  } catch (error) {
    throw new Problem(
      file.type && !file.type.startsWith('image/')
        ? 'This is not a picture.'
        : 'This browser cannot read this file as a picture. JPEG, PNG and WebP always work.',
      {cause: error},
    );
  }
  const {width, height} = bitmap;
  try {
    if (width * height > MOST_PIXELS) {
      const millions = Math.round((width * height) / 1e6);
      throw new Problem(
        `This picture has ${millions} megapixels; the page takes up to ${MOST_PIXELS / 1e6}. ` +
          'The command line takes larger ones.',
      );
    }
    const context = contextOf(width, height);
    context.drawImage(bitmap, 0, 0);
    const bytes = new Uint8Array(await file.arrayBuffer());
    const exif = findExif(bytes);
    return {
      pixels: context.getImageData(0, 0, width, height),
      kind: kindOf(bytes),
      exif: exif && forUprightPicture(exif, width, height),
    };
  } finally {
    bitmap.close();
  }
}

/**
 * @param {Picture} like what the pixels came from
 * @param {ImageData} pixels
 * @returns {Promise<Blob>} of the same kind where the browser can write it, else PNG
 */
export async function writePicture(like, pixels) {
  const {width, height} = pixels;
  const context = contextOf(width, height);
  context.putImageData(pixels, 0, 0);
  const {type} = WRITTEN[like.kind];
  const blob = await context.canvas.convertToBlob({type, quality: QUALITY});
  if (like.exif === null) {
    return blob;
  }
  const file = new Uint8Array(await blob.arrayBuffer());
  const whole = /** @type {BlobPart} */ (withExif(file, like.exif, width, height));
  return new Blob([whole], {type: blob.type});
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

/**
 * @param {number} width
 * @param {number} height
 */
function contextOf(width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', {willReadFrequently: true});
  if (context === null) {
    throw new Problem('This browser has no room for a picture of this size.');
  }
  return context;
}
