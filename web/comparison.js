/** Before and after in one frame, with a handle that can be dragged, and moved by the keyboard. */

/**
 * @param {string} name of the picture
 * @param {string} before URL
 * @param {string} after URL
 * @returns {HTMLElement}
 */
export function comparison(name, before, after) {
  const frame = document.createElement('div');
  frame.className = 'comparison';
  const handle = document.createElement('input');
  handle.type = 'range';
  handle.min = '0';
  handle.max = '100';
  handle.value = '50';
  handle.setAttribute('aria-label', `Before and after: how much of ${name} is shown restored`);
  const line = document.createElement('span');
  line.className = 'comparison-line';
  line.setAttribute('aria-hidden', 'true');
  const rainy = image(before, `${name}, rainy`, 'before');
  // The frame takes the shape of the picture: as wide as there is room, unless that is too high.
  rainy.addEventListener('load', () => {
    frame.style.setProperty('--shape', String(rainy.naturalWidth / rainy.naturalHeight));
  });
  frame.append(
    rainy,
    image(after, `${name}, restored`, 'after'),
    tag('Before', 'tag-before'),
    tag('After', 'tag-after'),
    line,
    handle,
  );
  const show = () => {
    frame.style.setProperty('--position', `${handle.value}%`);
    handle.setAttribute('aria-valuetext', `${100 - Number(handle.value)} percent restored`);
  };
  handle.addEventListener('input', show);
  show();
  return frame;
}

/**
 * @param {string} url
 * @param {string} text
 * @param {string} className
 */
function image(url, text, className) {
  const element = new Image();
  element.src = url;
  element.alt = text;
  element.className = className;
  element.decoding = 'async';
  element.draggable = false;
  return element;
}

/**
 * @param {string} text
 * @param {string} className
 */
function tag(text, className) {
  const element = document.createElement('span');
  element.className = `tag ${className}`;
  element.textContent = text;
  element.setAttribute('aria-hidden', 'true');
  return element;
}
