/**
 * Keeps the whole page in the cache and serves it from there, with the headers that isolate it.
 *
 * `self.SITE`, the list of files and the version made of their contents, is written in front of this
 * script when it is served (web/server.py): any change of any file makes a new script, which
 * browsers notice.
 *
 * @typedef {{version: string, files: string[]}} Site
 */

const worker = /** @type {ServiceWorkerGlobalScope & {SITE: Site}} */ (
  /** @type {unknown} */ (self)
);
const {version, files} = worker.SITE;
// Caches belong to the whole origin, where other copies of the page may stand in other folders.
const PREFIX = `mspfn-${new URL('.', location.href).pathname}-`;
const NAME = PREFIX + version;
const OWN = new Set(files.map((file) => new URL(file, location.href).href));

worker.addEventListener('install', (event) => {
  const all = async () => {
    const cache = await caches.open(NAME);
    await cache.addAll(files.map((file) => new Request(file, {cache: 'reload'})));
  };
  event.waitUntil(all());
});

// A page that is open goes on with the files of its own version: a new one waits until the only page
// there is asks for it, or all are closed.
worker.addEventListener('message', (event) => {
  const ifAlone = async () => {
    const pages = await worker.clients.matchAll({type: 'window', includeUncontrolled: true});
    const own = pages.filter(({url}) => url.startsWith(worker.registration.scope));
    if (own.length < 2) {
      await worker.skipWaiting();
    }
  };
  if (event.data === 'take over') {
    event.waitUntil(ifAlone());
  }
});

worker.addEventListener('activate', (event) => {
  const takeOver = async () => {
    const names = await caches.keys();
    const old = names.filter((name) => name.startsWith(PREFIX) && name !== NAME);
    await Promise.all(old.map((name) => caches.delete(name)));
    await worker.clients.claim();
  };
  event.waitUntil(takeOver());
});

// At the root of a domain, or above other folders, there are pages of others: with the headers that
// isolate, these would lose what they show from elsewhere.
worker.addEventListener('fetch', (event) => {
  const {origin, pathname} = new URL(event.request.url);
  if (event.request.method === 'GET' && OWN.has(origin + pathname)) {
    event.respondWith(answer(event.request));
  }
});

/** @param {Request} request */
async function answer(request) {
  const cache = await caches.open(NAME);
  // Hosts say that an answer varies with headers in which a page and its workers differ from `install`.
  const kept = await cache.match(request, {ignoreSearch: true, ignoreVary: true});
  return isolated(kept ?? (await fetch(request)));
}

/** @param {Response} response */
function isolated(response) {
  if (response.type === 'opaqueredirect' || response.status === 0) {
    return response;
  }
  const headers = new Headers(response.headers);
  headers.set('Cross-Origin-Opener-Policy', 'same-origin');
  headers.set('Cross-Origin-Embedder-Policy', 'require-corp');
  headers.set('Cross-Origin-Resource-Policy', 'same-origin');
  const {status, statusText} = response;
  const body = [101, 204, 205, 304].includes(status) ? null : response.body;
  return new Response(body, {status, statusText, headers});
}
