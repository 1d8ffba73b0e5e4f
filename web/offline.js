/**
 * The service worker: keeps the page for use without a network, and isolates it (which threads
 * need) where the host sends no headers for that.
 */

const RELOADED = 'reloaded for isolation';

/**
 * @param {() => boolean} idle whether nothing would be lost by loading the page again
 * @returns {Promise<string>} what it means for the visitor, in words
 */
export async function keepForOffline(idle) {
  if (!('serviceWorker' in navigator)) {
    return 'This browser cannot keep the page for use without a network.';
  }
  try {
    await navigator.serviceWorker.register('service_worker.js');
    await navigator.serviceWorker.ready;
  } catch (error) {
    console.debug('no service worker:', error);
    return 'The page could not be kept for use without a network.';
  }
  if (!self.crossOriginIsolated && sessionStorage.getItem(RELOADED) === null && idle()) {
    sessionStorage.setItem(RELOADED, 'yes');
    location.reload();
  }
  return 'Kept on this device: works without a network.';
}
