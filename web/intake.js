/** How pictures come in: chosen, photographed, dropped, pasted. */

/**
 * @param {(files: File[]) => void} onFiles none where something else was dropped, as a link
 * @returns {() => boolean} whether somebody is choosing, or taking a photograph, right now
 */
export function takeIn(onFiles) {
  let choosing = false;
  for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (
    document.querySelectorAll('input[type="file"]')
  )) {
    input.addEventListener('click', () => {
      choosing = true;
    });
    input.addEventListener('cancel', () => {
      choosing = false;
    });
    input.addEventListener('change', () => {
      choosing = false;
      onFiles([...(input.files ?? [])]);
      input.value = ''; // the same file may be chosen again
    });
  }
  document.addEventListener('paste', (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length > 0) {
      event.preventDefault();
      onFiles(files);
    }
  });

  // Anywhere on the page: whoever misses the frame must not lose the page to the picture.
  const {body} = document;
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    body.classList.toggle('dropping', Boolean(event.dataTransfer?.types.includes('Files')));
  });
  document.addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) {
      body.classList.remove('dropping');
    }
  });
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    body.classList.remove('dropping');
    onFiles([...(event.dataTransfer?.files ?? [])]);
  });
  return () => choosing;
}
