/** What this browser can do, as far as WebAssembly goes. */

/**
 * The smallest modules that use SIMD and relaxed SIMD: one function that builds a vector.
 * Header, a type () -> v128, the function, its body.
 */
const HEADER = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0];
const SIMD = new Uint8Array([...HEADER, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11]);
const RELAXED_SIMD = new Uint8Array([
  ...HEADER, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11,
]);

/** Threads beyond this number gain little and, on phones, fall on slow cores. */
const MOST_THREADS = 4;

export function hasSimd() {
  return typeof WebAssembly === 'object' && WebAssembly.validate(SIMD);
}

/** Whether the threaded build runs: shared memory needs an isolated page. */
export function hasThreads() {
  return Boolean(self.crossOriginIsolated) && WebAssembly.validate(RELAXED_SIMD);
}

/** @returns {number} threads to use */
export function threadCount() {
  return Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1);
}

/** Whether the browser offers WebGPU at all; a graphics card may still be missing. */
export function hasWebGpu() {
  return 'gpu' in navigator;
}
