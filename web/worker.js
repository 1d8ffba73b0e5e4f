/**
 * The worker: everything that takes time, so that the page never waits.
 *
 * A classic script, because LiteRT loads its own script with `importScripts`; the modules come by
 * `import()`, all of them before the first picture: later the network may be gone. Messages are
 * described in restoring.js.
 */

/**
 * @typedef {import('./restoring.js').Order} Order
 * @typedef {import('./restoring.js').Answer} Answer
 */

/** Pictures whose end was asked for. */
const cancelled = new Set();

/** @type {ReturnType<typeof loadModules> | undefined} once they were asked for */
let modules;

/** @type {Promise<{threads: number}> | undefined} the runtime, once it was asked for */
let loaded;

/** @type {Promise<unknown>} orders are carried out one after the other */
let queue = Promise.resolve();

/** @type {import('./runtime.js').CompiledFile[]} what restores comes first */
const compiled = [];

self.addEventListener('message', ({data}) => {
  const order = /** @type {Order} */ (data);
  if (order.type === 'cancel') {
    cancelled.add(order.id);
    return;
  }
  queue = queue.then(() => (order.type === 'prepare' ? prepare(order) : restore(order)));
});

// The page hears of errors alone, not of promises that fail, as where a module cannot be loaded.
self.addEventListener('unhandledrejection', (event) => {
  event.preventDefault();
  throw event.reason;
});

async function loadModules() {
  const [problems, runtime, webgpu, restorer, files] = await Promise.all([
    import('./problems.js'),
    import('./runtime.js'),
    import('./webgpu.js'),
    import('./restorer.js'),
    import('./picture_file.js'),
  ]);
  return {problems, runtime, webgpu, restorer, files};
}

/** @param {Answer} report */
function tell(report) {
  self.postMessage(report);
}

/** @param {Extract<Order, {type: 'prepare'}>} order */
async function prepare({url, webgpu}) {
  const {
    problems: {inWords, Problem},
    runtime: {loadRuntime, CompiledFile},
    webgpu: {compileForWebGpu},
  } = await (modules ??= loadModules());
  try {
    const {threads} = await (loaded ??= loadRuntime());
    const response = await fetch(url);
    if (!response.ok) {
      throw new Problem('The model could not be loaded. Check the connection and try again.');
    }
    const bytes = new Uint8Array(await response.arrayBuffer());
    compiled.splice(0).forEach((model) => model.delete());
    const reference = await CompiledFile.compile(bytes, 'wasm');
    compiled.push(reference);
    let note = '';
    if (webgpu) {
      const {model, reason} = await compileForWebGpu(bytes, reference);
      note = reason;
      if (model !== null) {
        compiled.unshift(model);
      }
    }
    const accelerator = compiled.length > 1 ? 'webgpu' : 'wasm';
    tell({type: 'ready', accelerator, threads, note});
  } catch (error) {
    tell({type: 'unready', message: inWords(error)});
  }
}

/** @param {Extract<Order, {type: 'restore'}>} order */
async function restore({id, file}) {
  const {
    problems: {inWords, Problem},
    restorer: {Cancelled, restore: restorePixels},
    files: {nameFor, pngOf, readPicture, writePicture},
  } = await (modules ??= loadModules());
  try {
    if (compiled.length === 0) {
      throw new Problem('The model could not be loaded, so that nothing can be restored.');
    }
    const started = performance.now();
    const picture = await readPicture(file);
    const {width, height} = picture.pixels;
    const before = picture.turned ? await pngOf(picture.pixels) : null;
    tell({type: 'size', id, width, height, before});
    const pixels = await restorePixels(compiled[0], picture.pixels, async (progress) => {
      tell({type: 'progress', id, ...progress});
      await messagesToArrive();
      if (cancelled.has(id)) {
        throw new Cancelled();
      }
    });
    const blob = await writePicture(picture, pixels);
    const seconds = (performance.now() - started) / 1000;
    tell({type: 'done', id, blob, name: nameFor(file.name, blob.type), seconds});
  } catch (error) {
    if (error instanceof Cancelled) {
      tell({type: 'cancelled', id});
    } else {
      // After an error of its own, LiteRT cannot be relied upon.
      const broken = !(error instanceof Problem);
      tell({type: 'failed', id, message: inWords(error), broken});
    }
  } finally {
    cancelled.delete(id); // it may be restored again
  }
}

/** Waits until messages that are there already have been handled. */
function messagesToArrive() {
  return new Promise((resolve) => {
    const {port1, port2} = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve(undefined);
    };
    port2.postMessage(null);
  });
}
