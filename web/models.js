/**
 * The models that come with the page.
 *
 * @typedef {object} ModelEntry
 * @property {string} name of the preset
 * @property {string} file where it stands
 * @property {string} title what it is called on the page
 * @property {number} bytes
 */

/** @returns {Promise<ModelEntry[]>} the default one first */
export async function listModels() {
  const response = await fetch('models/models.json');
  if (!response.ok) {
    throw new Error('failed to fetch the list of models');
  }
  return response.json();
}
