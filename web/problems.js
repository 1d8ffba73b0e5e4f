/** What can go wrong, in words for people. */

/** What Chromium, Firefox and Safari say of a file, a module or a script that did not come. */
const LOADING =
  /failed to fetch|networkerror|load failed|script.* failed( to load)?\.|loading dynamically imported module/i;

/** A problem whose message is meant for the person in front of the page. */
export class Problem extends Error {}

/**
 * The words for any error.
 * @param {unknown} error
 * @returns {string}
 */
export function inWords(error) {
  if (error instanceof Problem) {
    return error.message;
  }
  const text = String(error instanceof Error ? error.message : error);
  if (/out of memory|OOM|allocation failed|could not allocate|memory access|array length/i.test(text)) {
    return 'There is not enough memory for this picture. Close other tabs, or make it smaller first.';
  }
  if (LOADING.test(text)) {
    return 'A part of this page could not be loaded. Check the connection and try again.';
  }
  return `Something went wrong (${text}). Reload the page and try again.`;
}
