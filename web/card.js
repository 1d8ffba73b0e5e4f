/** What the page shows of one picture: its state, its buttons, before and after. */

import {comparison} from './comparison.js';

/** @typedef {'waiting' | 'working' | 'done' | 'failed' | 'cancelled'} State */

export class Card {
  /**
   * @param {number} id
   * @param {File} file
   * @param {{cancel: (card: Card) => void, again: (card: Card) => void,
   *   remove: (card: Card) => void}} actions
   */
  constructor(id, file, actions) {
    this.id = id;
    this.file = file;
    /** @type {State} */
    this.state = 'waiting';
    this.before = URL.createObjectURL(file);
    /** @type {string | null} */
    this.after = null;
    this.downloaded = false;
    /** @type {string | null} what it was restored with */
    this.settings = null;

    const template = /** @type {HTMLTemplateElement} */ (document.getElementById('card'));
    this.element = /** @type {HTMLElement} */ (
      /** @type {DocumentFragment} */ (template.content.cloneNode(true)).firstElementChild
    );
    const heading = this.part('name');
    heading.textContent = file.name;
    heading.id = `picture-${id}`;
    this.element.setAttribute('aria-labelledby', heading.id);
    this.part('download').addEventListener('click', () => {
      this.downloaded = true;
    });
    this.progress = /** @type {HTMLProgressElement} */ (this.part('progress'));
    this.progress.setAttribute('aria-label', `Progress of ${file.name}`);
    const preview = new Image();
    preview.src = this.before;
    preview.alt = `${file.name}, rainy`;
    preview.addEventListener('error', () => preview.remove());
    this.part('view').append(preview);

    for (const [name, action] of Object.entries(actions)) {
      const button = this.part(name);
      button.setAttribute('aria-label', `${button.textContent?.trim()} ${file.name}`);
      button.addEventListener('click', () => action(this));
    }
    this.show('waiting', 'Waiting');
  }

  /**
   * @param {string} name
   * @returns {HTMLElement}
   */
  part(name) {
    return /** @type {HTMLElement} */ (this.element.querySelector(`[data-part="${name}"]`));
  }

  /**
   * @param {State} state
   * @param {string} text
   */
  show(state, text) {
    const focused = this.element.contains(document.activeElement) ? document.activeElement : null;
    this.state = state;
    this.element.dataset.state = state;
    const earlier = this.after !== null && (state === 'cancelled' || state === 'failed');
    this.part('status').textContent = earlier
      ? `${text.replace(/\.?$/, '.')} The earlier result is still here.`
      : text;
    const active = state === 'waiting' || state === 'working';
    this.progress.hidden = !active;
    if (state === 'waiting') {
      this.progress.removeAttribute('value');
    }
    this.part('cancel').hidden = !active;
    this.part('remove').hidden = active;
    this.part('download').hidden = active || this.after === null;
    this.part('again').hidden = state !== 'cancelled' && state !== 'failed';
    if (focused instanceof HTMLElement && focused.hidden) {
      // The button that had the focus is gone: the keyboard goes on with what stands in its place.
      this.firstAction().focus({preventScroll: true});
    }
  }

  /** The first of the buttons that are there now. */
  firstAction() {
    return /** @type {HTMLElement} */ (this.element.querySelector('.about .buttons > :not([hidden])'));
  }

  /**
   * @param {number} width
   * @param {number} height
   * @param {Blob | null} before the picture upright, where the file may not show it so
   */
  showSize(width, height, before) {
    this.part('size').textContent = `${width} × ${height}`;
    if (before !== null) {
      URL.revokeObjectURL(this.before);
      this.before = URL.createObjectURL(before);
      const preview = this.element.querySelector('img');
      if (preview !== null) {
        preview.src = this.before;
      }
    }
  }

  /** @param {import('./restorer.js').Progress} progress */
  showProgress({phase, done, total, share}) {
    this.progress.max = 1;
    this.progress.value = share;
    const part = `${Math.min(done + 1, total)} of ${total}`;
    if (phase === 'measuring') {
      this.show('working', `Looking at the whole picture: part ${part}`);
    } else {
      this.show('working', total > 1 ? `Restoring: tile ${part}` : 'Restoring');
    }
  }

  /**
   * @param {Blob} blob
   * @param {string} name of the file to download
   * @param {string} text
   * @param {string} settings
   */
  showResult(blob, name, text, settings) {
    this.dropResult();
    this.after = URL.createObjectURL(blob);
    this.downloaded = false;
    this.settings = settings;
    const download = /** @type {HTMLAnchorElement} */ (this.part('download'));
    download.href = this.after;
    download.download = name;
    download.setAttribute('aria-label', `Download ${name}`);
    const view = this.part('view');
    const inUse = view.contains(document.activeElement);
    view.replaceChildren(comparison(this.file.name, this.before, this.after));
    if (inUse) {
      view.querySelector('input')?.focus({preventScroll: true});
    }
    this.show('done', text);
  }

  /**
   * Offers another run where the result was made with other settings.
   * @param {string} settings those of now
   */
  offerAgain(settings) {
    if (this.state === 'done') {
      this.part('again').hidden = this.settings === settings;
    }
  }

  dropResult() {
    if (this.after !== null) {
      URL.revokeObjectURL(this.after);
      this.after = null;
    }
  }

  remove() {
    this.dropResult();
    URL.revokeObjectURL(this.before);
    this.element.remove();
  }
}
