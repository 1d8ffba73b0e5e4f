/** For a test: one tile through the runtime, as numbers. Stands beside worker.js when served. */

self.addEventListener('message', async ({data: {url, values}}) => {
  const {loadRuntime, CompiledFile} = await import('./runtime.js');
  const {threads} = await loadRuntime();
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
  const model = await CompiledFile.compile(bytes, 'wasm');
  const derained = await model.run(values);
  const statistics = await model.measure(values);
  const guided = (await model.runGuided(values, statistics)).derained;
  self.postMessage({threads, derained, statistics, guided});
});
