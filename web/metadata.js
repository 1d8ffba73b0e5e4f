/** What stands beside the pixels of JPEG, PNG and WebP files: size and EXIF block, found and put in. */

const EXIF_MARK = bytesOf('Exif\0\0');
const PNG_MARK = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
/** The flag of a WebP file's first chunk that announces an EXIF chunk. */
const WEBP_EXIF = 0x08;
const WEBP_ALPHA = 0x10;

/**
 * @param {Uint8Array} file
 * @returns {Uint8Array | null} the block from its byte order mark on
 */
export function findExif(file) {
  const found = {jpeg: inJpeg, png: inPng, webp: inWebp, other: () => null}[kindOf(file)](file);
  if (found === null) {
    return null;
  }
  return startsWith(found, EXIF_MARK) ? found.slice(EXIF_MARK.length) : found;
}

/**
 * @param {Uint8Array} file as a canvas writes it, without EXIF
 * @param {Uint8Array} exif
 * @param {number} width of the picture
 * @param {number} height
 * @returns {Uint8Array} the file with the block; unchanged if its kind has no place for it
 */
export function withExif(file, exif, width, height) {
  switch (kindOf(file)) {
    case 'jpeg':
      return intoJpeg(file, exif);
    case 'png':
      return intoPng(file, exif);
    case 'webp':
      return intoWebp(file, exif, width, height);
    default:
      return file;
  }
}

/**
 * @param {Uint8Array} file PNG or WebP
 * @returns {Uint8Array} without its EXIF block
 */
export function withoutExif(file) {
  if (kindOf(file) === 'webp') {
    const chunks = [...webpChunks(file)].filter(({name}) => name !== 'EXIF');
    for (const chunk of chunks.filter(({name}) => name === 'VP8X')) {
      chunk.content = chunk.content.slice();
      chunk.content[0] &= ~WEBP_EXIF;
    }
    return webpOf(chunks);
  }
  const found = inPng(file);
  if (found === null) {
    return file;
  }
  const start = found.byteOffset - file.byteOffset - 8;
  return joined(file.subarray(0, start), file.subarray(start + 12 + found.length));
}

/**
 * @param {Uint8Array} file
 * @returns {'jpeg' | 'png' | 'webp' | 'other'}
 */
export function kindOf(file) {
  if (startsWith(file, [0xff, 0xd8, 0xff])) {
    return 'jpeg';
  }
  if (startsWith(file, PNG_MARK)) {
    return 'png';
  }
  if (startsWith(file, bytesOf('RIFF')) && textAt(file, 8) === 'WEBP') {
    return 'webp';
  }
  return 'other';
}

/**
 * What a file says of its size, before anything is decoded.
 * @param {Uint8Array} file
 * @returns {[number, number] | null} width and height as they are stored; null for other kinds than
 *   JPEG and PNG, and for files that do not say
 */
export function sizeOf(file) {
  if (kindOf(file) === 'png' && file.length >= 24) {
    const view = viewOf(file);
    return [view.getUint32(16), view.getUint32(20)];
  }
  if (kindOf(file) === 'jpeg') {
    for (const {marker, content} of jpegSegments(file)) {
      // The others of these define tables.
      if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
        const view = viewOf(content);
        return content.length < 5 ? null : [view.getUint16(3), view.getUint16(1)];
      }
    }
  }
  return null;
}

/** @param {Uint8Array} file */
function inJpeg(file) {
  for (const {marker, content} of jpegSegments(file)) {
    if (marker === 0xe1 && startsWith(content, EXIF_MARK)) {
      return content;
    }
  }
  return null;
}

/**
 * What stands before the picture itself.
 * @param {Uint8Array} file
 */
function* jpegSegments(file) {
  const view = viewOf(file);
  for (let place = 2; place + 4 <= file.length && file[place] === 0xff; ) {
    const marker = file[place + 1];
    if (marker === 0xff) {
      place += 1; // a marker may begin with any number of these
      continue;
    }
    if (marker === 0xda) {
      return; // the picture itself begins
    }
    const length = view.getUint16(place + 2);
    yield {marker, content: file.subarray(place + 4, place + 2 + length)};
    place += 2 + length;
  }
}

/**
 * @param {Uint8Array} file
 * @param {Uint8Array} exif
 */
function intoJpeg(file, exif) {
  const length = 2 + EXIF_MARK.length + exif.length;
  if (length > 0xffff) {
    return file; // no segment is longer
  }
  const head = [0xff, 0xe1, length >> 8, length & 0xff];
  return joined(file.subarray(0, 2), head, EXIF_MARK, exif, file.subarray(2));
}

/** @param {Uint8Array} file */
function inPng(file) {
  const view = viewOf(file);
  for (let place = PNG_MARK.length; place + 12 <= file.length; ) {
    const length = view.getUint32(place);
    if (textAt(file, place + 4) === 'eXIf') {
      return file.subarray(place + 8, place + 8 + length);
    }
    place += 12 + length;
  }
  return null;
}

/**
 * @param {Uint8Array} file
 * @param {Uint8Array} exif
 */
function intoPng(file, exif) {
  const headerEnd = PNG_MARK.length + 12 + viewOf(file).getUint32(PNG_MARK.length);
  const content = joined(bytesOf('eXIf'), exif);
  const chunk = joined(bigEndian(exif.length), content, bigEndian(crc32(content)));
  return joined(file.subarray(0, headerEnd), chunk, file.subarray(headerEnd));
}

/** @param {Uint8Array} file */
function inWebp(file) {
  for (const {name, content} of webpChunks(file)) {
    if (name === 'EXIF') {
      return content;
    }
  }
  return null;
}

/**
 * @param {Uint8Array} file
 * @param {Uint8Array} exif
 * @param {number} width
 * @param {number} height
 */
function intoWebp(file, exif, width, height) {
  const chunks = [...webpChunks(file)];
  const header = new Uint8Array(10);
  const extended = chunks.find(({name}) => name === 'VP8X');
  if (extended) {
    header.set(extended.content);
  } else {
    const view = viewOf(header);
    view.setUint32(4, width - 1, true); // three bytes each; the fourth is overwritten
    view.setUint16(7, (height - 1) & 0xffff, true);
    view.setUint8(9, (height - 1) >> 16);
    // A lossless picture says in its own header whether it has an alpha channel.
    const lossless = chunks.find(({name}) => name === 'VP8L');
    if (lossless && lossless.content[4] & 0x10) {
      header[0] |= WEBP_ALPHA;
    }
  }
  header[0] |= WEBP_EXIF;
  const others = chunks.filter(({name}) => name !== 'VP8X' && name !== 'EXIF');
  return webpOf([
    {name: 'VP8X', content: header},
    ...others,
    {name: 'EXIF', content: exif},
  ]);
}

/** @param {{name: string, content: Uint8Array}[]} chunks */
function webpOf(chunks) {
  const parts = chunks.map(({name, content}) =>
    joined(bytesOf(name), littleEndian(content.length), content, content.length % 2 ? [0] : []),
  );
  const body = joined(bytesOf('WEBP'), ...parts);
  return joined(bytesOf('RIFF'), littleEndian(body.length), body);
}

/** @param {Uint8Array} file */
function* webpChunks(file) {
  const view = viewOf(file);
  for (let place = 12; place + 8 <= file.length; ) {
    const length = view.getUint32(place + 4, true);
    yield {name: textAt(file, place), content: file.subarray(place + 8, place + 8 + length)};
    place += 8 + length + (length % 2);
  }
}

/** @param {Uint8Array} bytes */
function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) {
      crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    }
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** @param {Uint8Array} bytes */
function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** @param {string} text */
function bytesOf(text) {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/**
 * Four characters of a file.
 * @param {Uint8Array} file
 * @param {number} place
 */
function textAt(file, place) {
  return String.fromCharCode(...file.subarray(place, place + 4));
}

/**
 * @param {Uint8Array} bytes
 * @param {ArrayLike<number>} start
 */
function startsWith(bytes, start) {
  return Array.from(start).every((byte, index) => bytes[index] === byte);
}

/** @param {number} value */
function bigEndian(value) {
  return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
}

/** @param {number} value */
function littleEndian(value) {
  return bigEndian(value).reverse();
}

/** @param {...ArrayLike<number>} parts */
function joined(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    all.set(part, place);
    place += part.length;
  }
  return all;
}
