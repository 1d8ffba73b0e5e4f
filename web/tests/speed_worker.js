/** For benchmarks/browser.py: milliseconds per tile. Stands beside worker.js when served. */

// What goes wrong in a promise is no error of the worker by itself: nobody would hear of it.
self.addEventListener('unhandledrejection', ({reason}) => {
  throw reason;
});

self.addEventListener('message', async ({data: {url, threads, tiles}}) => {
  Object.defineProperty(navigator, 'hardwareConcurrency', {value: threads});
  const {loadRuntime, CompiledFile} = await import('./runtime.js');
  const loaded = await loadRuntime();
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
  const model = await CompiledFile.compile(bytes, 'wasm');
  const values = new Float32Array(model.size[0] * model.size[1] * 3);
  for (let index = 0; index < values.length; index++) {
    values[index] = (index % 251) / 251;
  }
  await model.run(values); // the first is slower
  const times = [];
  for (let tile = 0; tile < tiles; tile++) {
    const start = performance.now();
    await model.run(values);
    times.push(performance.now() - start);
  }
  self.postMessage({threads: loaded.threads, times});
});
