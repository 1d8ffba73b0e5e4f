/**
 * Copies what the page needs of the installed npm packages to vendor/, with a list of hashes.
 *
 * Run it with `npm ci && npm run vendor` after a change of versions in package.json; the files are
 * committed, so that installing the Python package needs no node.
 */

import {createHash} from 'node:crypto';
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {gzipSync} from 'node:zlib';

const CORE = '@litertjs/core';
const UTILITIES = '@litertjs/wasm-utils';

/**
 * Import maps do not reach workers, so the one bare import becomes a relative one. The notes on
 * source maps go, because the maps are not copied.
 * @param {Buffer} content
 */
function asRelativeModule(content) {
  const text = content.toString();
  const changed = text
    .replace(/from "@litertjs\/wasm-utils"/, 'from "./wasm_utils.js"')
    .replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n');
  return Buffer.from(changed);
}

/** @param {Buffer} content */
const compressed = (content) => gzipSync(content, {level: 9});

/** @param {Buffer} content */
const asItIs = (content) => content;

/** @type {[string, string, string, (content: Buffer) => Buffer][]} */
const FILES = [
  ['litert.js', CORE, 'dist/index.js', asRelativeModule],
  ['litert.d.ts', CORE, 'dist/index.d.ts', asItIs], // for `npm run check` alone
  ['wasm_utils.js', UTILITIES, 'dist/index.js', asRelativeModule],
  ...['compat', 'threaded'].flatMap((build) => {
    const name = `litert_wasm_${build}_internal`;
    return /** @type {[string, string, string, (content: Buffer) => Buffer][]} */ ([
      [`${name}.js`, CORE, `wasm/${name}.js`, asItIs],
      [`${name}.wasm.gz`, CORE, `wasm/${name}.wasm`, compressed],
    ]);
  }),
];

/** @param {Buffer} content */
const sha256 = (content) => createHash('sha256').update(content).digest('hex');

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
mkdirSync('vendor', {recursive: true});
const files = FILES.map(([file, name, source, change]) => {
  const original = readFileSync(`node_modules/${name}/${source}`);
  const copy = change(original);
  writeFileSync(`vendor/${file}`, copy);
  return {
    file,
    sha256: sha256(copy),
    package: name,
    version: lock.packages[`node_modules/${name}`].version,
    integrity: lock.packages[`node_modules/${name}`].integrity,
    source,
    source_sha256: sha256(original),
  };
});
writeFileSync('vendor/files.json', JSON.stringify(files, null, 1) + '\n');
for (const {file, package: name, version} of files) {
  console.log(`vendor/${file} (${name} ${version})`);
}
