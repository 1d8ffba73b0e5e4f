/** The page: settings, the queue of pictures, what is said about them. */

import {Card} from './card.js';
import {hasWebGpu} from './features.js';
import {takeIn} from './intake.js';
import {listModels} from './models.js';
import {keepForOffline} from './offline.js';
import {inWords} from './problems.js';
import {Restoring} from './restoring.js';

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) {
    throw new TypeError(`the page has no ${id}`);
  }
  return found;
}

const list = element('pictures', HTMLElement);
const modelChoice = element('model', HTMLSelectElement);
const webGpuChoice = element('webgpu', HTMLInputElement);
const backend = element('backend', HTMLElement);
const announcer = element('announcer', HTMLElement);
const problem = element('problem', HTMLElement);
const several = element('several', HTMLElement);

/** @type {Card[]} in the order of their coming */
const cards = [];
let latest = 0;
/** @type {'preparing' | 'ready' | 'unready'} */
let readiness = 'unready';

const restoring = new Restoring(showReadiness, showNews);

/** What the next picture is restored with, in words. */
function settings() {
  const model = modelChoice.selectedOptions[0]?.textContent ?? '';
  return webGpuChoice.checked ? `${model}, WebGPU` : model;
}

async function prepare() {
  readiness = 'preparing';
  backend.textContent = webGpuChoice.checked
    ? 'Loading the model, and checking the graphics card …'
    : 'Loading the model …';
  if (modelChoice.length === 0) {
    try {
      const models = await listModels();
      modelChoice.replaceChildren(
        ...models.map(({file, title}) => new Option(title, `models/${file}`)),
      );
    } catch (error) {
      showReadiness({type: 'unready', message: inWords(error)});
      return;
    }
  }
  restoring.prepare(modelChoice.value, webGpuChoice.checked);
  for (const card of cards) {
    card.offerAgain(settings());
  }
}

/** @param {import('./restoring.js').Readiness} outcome */
function showReadiness(outcome) {
  readiness = outcome.type;
  if (outcome.type === 'unready') {
    showProblem(outcome.message);
    backend.textContent = 'Not ready';
    for (const card of waiting()) {
      card.show('failed', outcome.message);
    }
    return;
  }
  const {accelerator, threads, note} = outcome;
  const wasm = `WebAssembly, ${threads === 1 ? '1 thread' : `${threads} threads`}`;
  backend.textContent =
    accelerator === 'webgpu'
      ? 'Runs on WebGPU, the graphics card; checked against WebAssembly'
      : `Runs on ${wasm}${note ? `: ${note}` : ''}`;
  backend.dataset.accelerator = accelerator;
  backend.dataset.threads = String(threads);
  next();
}

/** @param {string} message */
function showProblem(message) {
  problem.textContent = message;
  problem.hidden = message === '';
}

function waiting() {
  return cards.filter((card) => card.state === 'waiting');
}

/** Starts the next picture, if there is one and none is in work. */
function next() {
  const [card] = waiting();
  if (card === undefined || restoring.working !== null) {
    return;
  }
  if (readiness === 'unready') {
    prepare(); // once more, now that somebody asks for it
  } else if (readiness === 'ready') {
    card.show('working', 'Reading');
    card.settings = settings();
    restoring.restore(card.id, card.file);
  }
}

/** @param {import('./restoring.js').News} news */
function showNews(news) {
  const card = cards.find(({id}) => id === news.id);
  if (card !== undefined) {
    showOn(card, news);
  }
  showSeveral();
  next();
}

/**
 * @param {Card} card
 * @param {import('./restoring.js').News} news
 */
function showOn(card, news) {
  const {name} = card.file;
  switch (news.type) {
    case 'size':
      card.showSize(news.width, news.height, news.before);
      break;
    case 'progress':
      card.showProgress(news);
      break;
    case 'done': {
      const text = `Restored in ${news.seconds.toFixed(1)} s`;
      card.showResult(news.blob, news.name, text, card.settings ?? '');
      card.offerAgain(settings());
      announcer.textContent = `${name}: ${text}`;
      break;
    }
    case 'cancelled':
      card.show('cancelled', 'Cancelled');
      announcer.textContent = `${name}: cancelled`;
      break;
    case 'failed':
      card.show('failed', news.message);
      announcer.textContent = `${name}: ${news.message}`;
      break;
  }
}

/** @param {File[]} files */
function add(files) {
  showProblem('');
  const pictures = files.filter((file) => file.type === '' || file.type.startsWith('image/'));
  const others = files.filter((file) => !pictures.includes(file));
  if (files.length === 0) {
    showProblem('What was dropped is no file. Save the picture first, then choose its file.');
  } else if (others.length > 0) {
    showProblem(`Not a picture: ${others.map(({name}) => name).join(', ')}`);
  }
  for (const file of pictures) {
    const card = new Card((latest += 1), file, {cancel, again, remove});
    cards.push(card);
    list.append(card.element);
  }
  showSeveral();
  if (pictures.length > 0) {
    const first = cards[cards.length - pictures.length].element;
    bringIntoView(first);
    // Its picture makes it higher.
    first.querySelector('img')?.addEventListener('load', () => bringIntoView(first), {once: true});
  }
  next();
}

/**
 * Scrolls down as far as needed. `scrollIntoView` would also move the place that the next Tab goes on
 * from, away from what somebody has just used.
 * @param {HTMLElement} element below what is in view, if not in it
 */
function bringIntoView(element) {
  const {top, bottom} = element.getBoundingClientRect();
  window.scrollBy(0, Math.max(0, Math.min(top, bottom - window.innerHeight)));
}

/** @param {Card} card */
function cancel(card) {
  if (restoring.working?.id === card.id) {
    card.part('status').textContent = 'Cancelling …';
    restoring.cancel(card.id);
  } else {
    card.show('cancelled', 'Cancelled');
  }
  showSeveral();
}

/** @param {Card} card */
function again(card) {
  showProblem('');
  card.show('waiting', 'Waiting');
  next();
}

/** @param {Card} card */
function remove(card) {
  const place = cards.indexOf(card);
  card.remove();
  cards.splice(place, 1);
  showSeveral();
  const neighbour = cards[place] ?? cards[place - 1];
  (neighbour?.firstAction() ?? element('choose', HTMLInputElement)).focus();
}

/** Those with a result to download, which may be an earlier one. */
function restored() {
  return cards.filter(({after}) => after !== null);
}

function showSeveral() {
  several.hidden = restored().length < 2;
}

element('download-all', HTMLButtonElement).addEventListener('click', async () => {
  for (const card of restored()) {
    card.part('download').click();
    // Browsers drop downloads that follow one another at once.
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
});

element('sample', HTMLButtonElement).addEventListener('click', async () => {
  try {
    const response = await fetch('sample.jpg');
    if (!response.ok) {
      throw new Error('failed to fetch the sample');
    }
    add([new File([await response.blob()], 'sample.jpg', {type: 'image/jpeg'})]);
  } catch (error) {
    showProblem(inWords(error));
  }
});

// Phones load a page anew at a swipe. What is in work, or was never downloaded, would be lost.
window.addEventListener('beforeunload', (event) => {
  const unfinished = (/** @type {Card} */ {state}) => state === 'waiting' || state === 'working';
  if (cards.some((card) => unfinished(card) || (card.after !== null && !card.downloaded))) {
    event.preventDefault();
  }
});

for (const choice of [modelChoice, webGpuChoice]) {
  choice.addEventListener('change', () => {
    showProblem('');
    prepare();
  });
}
const choosing = takeIn(add);
element('webgpu-field', HTMLElement).hidden = !hasWebGpu();
// A camera at the back stands behind this on devices that are held in the hand.
element('camera', HTMLElement).hidden = navigator.maxTouchPoints === 0;

prepare();
element('offline', HTMLElement).textContent = await keepForOffline(
  () => cards.length === 0 && !choosing(),
);
