/**
 * The service worker: keeps the page for use without a network, and isolates it (which threads
 * need) where the host sends no headers for that.
 */

const RELOADED = 'reloaded for isolation';
const ASK_AGAIN = 5000; // milliseconds; a page that is being closed or loaded still counts as open

/**
 * @param {() => boolean} idle whether nothing would be lost by loading the page again
 * @returns {Promise<string>} what it means for the visitor, in words
 */
export async function keepForOffline(idle) {
  if (!self.isSecureContext) {
    return 'This address has no HTTPS: the page cannot be kept for use without a network, and is slower.';
  }
  if (!('serviceWorker' in navigator)) {
    return 'This browser cannot keep the page for use without a network.';
  }
  try {
    const {serviceWorker} = navigator; // where storage is blocked, asking for it may be an error
    // Before anything is waited for: the change may come while this page is still being loaded.
    let ofVersion = serviceWorker.controller;
    serviceWorker.addEventListener('controllerchange', () => {
      if (ofVersion !== null && idle()) {
        location.reload();
      }
    });
    const registration = await serviceWorker.register('service_worker.js');
    await activeIn(registration);
    ofVersion ??= serviceWorker.controller; // the first visit
    changeOver(registration, idle);
  } catch (error) {
    console.debug('no service worker:', error);
    return 'The page could not be kept for use without a network.';
  }
  try {
    if (!self.crossOriginIsolated && sessionStorage.getItem(RELOADED) === null && idle()) {
      sessionStorage.setItem(RELOADED, 'yes');
      location.reload();
    }
  } catch (error) {
    console.debug('not loaded again, which could go on for ever:', error); // storage is blocked
  }
  return 'Kept on this device: works without a network.';
}

/**
 * Waits until there is an active worker; `ready` of the browser never comes where a file is missing
 * or there is no room for it.
 * @param {ServiceWorkerRegistration} registration
 * @returns {Promise<void>}
 */
function activeIn(registration) {
  const coming = registration.installing ?? registration.waiting;
  if (registration.active !== null || coming === null) {
    return Promise.resolve();
  }
  return new Promise((resolve, reject) => {
    coming.addEventListener('statechange', () => {
      if (coming.state === 'activated') {
        resolve();
      } else if (coming.state === 'redundant') {
        reject(new Error('a file could not be kept'));
      }
    });
  });
}

/**
 * A page of one version must get no files of another. So a new version waits until this page can be
 * loaded once more, with all of its files.
 * @param {ServiceWorkerRegistration} registration
 * @param {() => boolean} idle
 */
function changeOver(registration, idle) {
  const ask = () => {
    if (registration.waiting !== null && idle()) {
      registration.waiting.postMessage('take over');
    }
  };
  const follow = () => registration.installing?.addEventListener('statechange', ask);
  registration.addEventListener('updatefound', follow);
  follow();
  ask();
  setInterval(ask, ASK_AGAIN);
}
