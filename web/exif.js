/**
 * The EXIF block of a photograph: a small TIFF file of numbered entries in directories.
 *
 * What is written after restoring keeps the block, but for what would no longer be true: the
 * orientation, which has been applied to the pixels, the colour space, which a canvas makes sRGB, and
 * the thumbnail, which still shows the rain.
 */

const ORIENTATION = 0x0112;
const THUMBNAIL_OFFSET = 0x0201;
const THUMBNAIL_LENGTH = 0x0202;
const EXIF_DIRECTORY = 0x8769;
/** Width and height stand in the directory of EXIF, and some phones write them into the main one, too. */
const MAIN_SIZE = [0x0100, 0x0101];
const EXIF_SIZE = [0xa002, 0xa003];
const COLOUR_SPACE = 0xa001;
const SRGB = 1;
/** Of cameras alone: "R98" tells sRGB, "R03" Adobe RGB. */
const INTEROPERABILITY_DIRECTORY = 0xa005;
const INTEROPERABILITY_INDEX = 0x0001;
const LITTLE_ENDIAN = 0x4949;
const ENTRY_BYTES = 12;
const SHORT = 3;

/**
 * @param {Uint8Array} block from its byte order mark on
 * @returns {number} 1 to 8; 1, which means upright, where the block says nothing or is damaged
 */
export function orientationOf(block) {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  try {
    const little = view.getUint16(0) === LITTLE_ENDIAN;
    const entry = directory(view, view.getUint32(4, little), little).entries.get(ORIENTATION);
    const value = entry === undefined ? 1 : view.getUint16(entry + 8, little);
    return value >= 1 && value <= 8 ? value : 1;
  } catch (error) {
    if (error instanceof RangeError) {
      return 1;
    }
    throw error;
  }
}

/**
 * @param {Uint8Array} block from its byte order mark on
 * @param {number} width of the upright picture
 * @param {number} height
 * @returns {Uint8Array | null} a changed copy; null if the block is damaged
 */
export function forUprightPicture(block, width, height) {
  const copy = block.slice();
  const view = new DataView(copy.buffer);
  try {
    const little = view.getUint16(0) === LITTLE_ENDIAN;
    const main = directory(view, view.getUint32(4, little), little);
    const orientation = main.entries.get(ORIENTATION);
    if (orientation !== undefined) {
      writeNumber(view, orientation, 1, little);
    }
    writeSize(view, main.entries, MAIN_SIZE, [width, height], little);
    const details = main.entries.get(EXIF_DIRECTORY);
    if (details !== undefined) {
      const {entries} = directory(view, view.getUint32(details + 8, little), little);
      writeSize(view, entries, EXIF_SIZE, [width, height], little);
      writeSrgb(view, entries, little);
    }
    return withoutThumbnail(copy, view, main.next, little);
  } catch (error) {
    if (error instanceof RangeError) {
      return null; // it points outside itself
    }
    throw error;
  }
}

/**
 * @param {DataView} view
 * @param {number} start
 * @param {boolean} little
 * @returns {{entries: Map<number, number>, next: number}} where each tag's entry stands, and where
 *   the pointer to the next directory does
 */
function directory(view, start, little) {
  const count = view.getUint16(start, little);
  const entries = new Map();
  for (let index = 0; index < count; index++) {
    const entry = start + 2 + index * ENTRY_BYTES;
    entries.set(view.getUint16(entry, little), entry);
  }
  return {entries, next: start + 2 + count * ENTRY_BYTES};
}

/**
 * @param {DataView} view
 * @param {Map<number, number>} entries of a directory
 * @param {number[]} tags of width and height, written where they are there
 * @param {number[]} size
 * @param {boolean} little
 */
function writeSize(view, entries, tags, size, little) {
  for (const [index, tag] of tags.entries()) {
    const entry = entries.get(tag);
    if (entry !== undefined) {
      writeNumber(view, entry, size[index], little);
    }
  }
}

/**
 * @param {DataView} view
 * @param {Map<number, number>} entries of the directory of EXIF
 * @param {boolean} little
 */
function writeSrgb(view, entries, little) {
  const space = entries.get(COLOUR_SPACE);
  if (space !== undefined) {
    writeNumber(view, space, SRGB, little);
  }
  const other = entries.get(INTEROPERABILITY_DIRECTORY);
  if (other !== undefined) {
    const index = directory(view, view.getUint32(other + 8, little), little).entries;
    const name = index.get(INTEROPERABILITY_INDEX);
    for (const [place, letter] of name === undefined ? [] : [...'R98'].entries()) {
      view.setUint8(/** @type {number} */ (name) + 8 + place, letter.charCodeAt(0));
    }
  }
}

/**
 * @param {DataView} view
 * @param {number} entry
 * @param {number} value
 * @param {boolean} little
 */
function writeNumber(view, entry, value, little) {
  if (view.getUint16(entry + 2, little) === SHORT) {
    view.setUint16(entry + 8, value, little);
  } else {
    view.setUint32(entry + 8, value, little);
  }
}

/**
 * @param {Uint8Array} block
 * @param {DataView} view
 * @param {number} next where the pointer to the thumbnail's directory stands
 * @param {boolean} little
 */
function withoutThumbnail(block, view, next, little) {
  const start = view.getUint32(next, little);
  if (start === 0) {
    return block;
  }
  view.setUint32(next, 0, little);
  const {entries} = directory(view, start, little);
  const offset = entries.get(THUMBNAIL_OFFSET);
  const length = entries.get(THUMBNAIL_LENGTH);
  if (offset === undefined || length === undefined) {
    return block;
  }
  const first = view.getUint32(offset + 8, little);
  const end = first + view.getUint32(length + 8, little);
  if (end >= block.length) {
    return block.slice(0, first);
  }
  block.fill(0, first, end); // something else stands behind it, at a place that is pointed to
  return block;
}
