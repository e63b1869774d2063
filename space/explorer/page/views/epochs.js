/** Training made visible: the same text, distribution and attention by the weights of each epoch of a run. */
import { ModelError } from "../../model_error.js";
import { ModelFiles } from "../../model_files.js";
import { loadRemoteModel } from "../../remote_model.js";
import { distribution, surprises } from "../../sampling.js";
import { fillRow, finder, make, makeItem } from "../dom.js";
import { nameOfToken, nameOfWord } from "../names.js";
import { drawAttention } from "./attention.js";

const FOLDER = "epochs", INDEX = `${FOLDER}/index.json`;
const MOST_INDEX_BYTES = 1e6, MOST_EPOCHS = 10_000;
/** Loaded models that are kept, of which one is shown. */
const CACHED = 2;
const SHOWN = 8, WRITTEN = 40;

/**
 * @typedef {object} Epoch
 * @property {number} epoch 0 has the random weights
 * @property {number} step
 * @property {number | null} training loss of the epoch in nats per token, null for epoch 0
 * @property {number} validation loss in nats per word
 * @property {string} file path of the weights in the model's folder
 */

/**
 * @param {HTMLElement} element
 * @param {import("../store.js").Store} store
 * @param {import("../i18n.js").Text} text
 */
export function mount(element, store, text) {
  const find = finder(element), slider = find(".epoch");
  const models = new EpochModels();
  /** @type {import("../../model_files.js").Source | null} whose epochs are listed */ let listed = null;
  /** @type {Epoch[]} */ let epochs = [];
  let drawing = 0, drawn = "";

  store.watch(["model", "tab", "ids", "words", "given", "chosen", "settings", "layer", "head", "writing"], async (state) => {
    if (!state.model || state.source !== listed) forget();
    if (!state.model || !state.source || state.tab !== "epochs" || state.writing) return;
    if (!listed) await list(state.source);
    else await draw();
  });
  slider.addEventListener("input", describe);
  slider.addEventListener("change", draw);

  function forget() {
    listed = null;
    epochs = [];
    drawing++;
    drawn = "";
    models.close();
    say("");
    find(".content").hidden = true;
  }

  function say(/** @type {string} */ line) {
    find(".epochs-status").textContent = line;
  }

  async function list(/** @type {import("../../model_files.js").Source} */ source) {
    listed = source;
    say(text("epochs_loading"));
    try {
      const found = await readIndex(source);
      if (listed !== source) return;
      epochs = found;
      say(epochs.length ? "" : text("epochs_none"));
      find(".epochs-info").hidden = !epochs.length;
    } catch (error) {
      if (listed === source) say(/** @type {Error} */ (error).message);
      return;
    }
    find(".content").hidden = !epochs.length;
    if (!epochs.length) return;
    slider.max = epochs.length - 1;
    slider.value = slider.max;
    await draw();
  }

  function describe() {
    const { epoch, step, training, validation } = epochs[slider.valueAsNumber];
    const values = {
      epoch, last: epochs[epochs.length - 1].epoch, step: text.count(step),
      training: training === null ? "" : text.fixed(training, 3), validation: text.fixed(validation, 3),
    };
    const line = text(epoch ? "epoch_line" : "epoch_line_random", values);
    find(".epoch-line").textContent = line;
    slider.setAttribute("aria-valuetext", line);
  }

  async function draw() {
    const { state } = store, { ids, words, given, chosen, settings, layer, head } = state;
    if (!epochs.length || !state.source || ids.length < 2) return;
    describe();
    const epoch = epochs[slider.valueAsNumber], position = chosen ?? Math.min(given || 1, ids.length - 1);
    const key = JSON.stringify([epoch.file, ids, position, settings, layer, head]);
    if (key === drawn || words.length !== ids.length) return;
    drawn = key;
    const current = ++drawing, isCurrent = () => current === drawing;
    say(text("epochs_loading_one", { epoch: epoch.epoch }));
    try {
      const model = await models.get(state.source, epoch.file);
      if (!isCurrent()) return;
      const inner = await model.forward(ids), here = { ...state, model: /** @type {any} */ (model), inner };
      const found = await nextWords(here, text, position);
      if (!isCurrent()) return;
      drawNext(here, position, found);
      drawAttention(find(".epoch-attended"), here, text, position);
      find(".epoch-surprise").textContent = text("epoch_surprise", { nats: text.fixed(mean(surprises(inner.logits, ids)), 3) });
      const { ids: added } = await model.generate(ids.slice(0, given), { ...settings, maxNewTokens: WRITTEN });
      const written = await state.vocabulary.decode([...ids.slice(0, given), ...added]);
      if (!isCurrent()) return;
      find(".epoch-text").textContent = written;
      say("");
    } catch (error) {
      if (!isCurrent()) return;
      drawn = "";
      say(/** @type {Error} */ (error).message);
    }
  }

  function drawNext(/** @type {import("../store.js").State} */ state, /** @type {number} */ position, /** @type {NextWord[]} */ found) {
    find(".epoch-next-heading").textContent = text("epoch_next", { word: nameOfWord(state, text, position - 1) });
    const highest = Math.max(...found.map(({ probability }) => probability));
    find(".epoch-next").replaceChildren(...found.map(({ name, probability, isOwn }) => {
      const row = make("div", "bar"), item = makeItem(row, isOwn ? "chosen" : "");
      fillRow(row, name, [[probability / highest, "after"]], [text.percent(probability)]);
      if (isOwn) item.setAttribute("aria-current", "true");
      return item;
    }));
  }
}

/** The models of the epochs, of which the last two are kept. */
class EpochModels {
  /** @type {Map<string, {model: Promise<import("../../remote_model.js").RemoteModel>, loading: AbortController}>} by file, the last used last */
  #models = new Map();

  /**
   * @param {import("../../model_files.js").Source} source
   * @param {string} file
   */
  get(source, file) {
    const loading = new AbortController();
    const found = this.#models.get(file) ?? { model: loadRemoteModel({ ...source, weights: file }, { signal: loading.signal }), loading };
    this.#models.delete(file);
    this.#models.set(file, found);
    for (const old of [...this.#models.keys()].slice(0, -CACHED)) this.#close(old);
    // what could not be loaded is tried again
    found.model.catch(() => { if (this.#models.get(file) === found) this.#models.delete(file); });
    return found.model;
  }

  close() {
    for (const file of [...this.#models.keys()]) this.#close(file);
  }

  #close(/** @type {string} */ file) {
    const { model, loading } = /** @type {any} */ (this.#models.get(file));
    this.#models.delete(file);
    loading.abort();
    model.then((/** @type {any} */ loaded) => loaded.close(), () => {});
  }
}

/**
 * @param {import("../../model_files.js").Source} source
 * @returns {Promise<Epoch[]>} empty if the model has no epochs
 * @throws {ModelError} if the index is no valid one
 */
async function readIndex(source) {
  const json = /** @type {any} */ (await new ModelFiles(source).json(INDEX, MOST_INDEX_BYTES));
  if (json === undefined) return [];
  const isLoss = (/** @type {unknown} */ loss) => typeof loss === "number" && Number.isFinite(loss);
  const isCount = (/** @type {unknown} */ count) => Number.isSafeInteger(count) && /** @type {number} */ (count) >= 0;
  const listed = json?.epochs;
  const isValid = (/** @type {any} */ entry) =>
    isCount(entry?.epoch) && isCount(entry.step) && isLoss(entry.validation_nats_per_word) &&
    (entry.training_nats_per_token === null || isLoss(entry.training_nats_per_token)) &&
    typeof entry.file === "string" && /^epoch-\d{3,9}\.safetensors$/.test(entry.file);
  if (!Array.isArray(listed) || listed.length > MOST_EPOCHS || !listed.every(isValid)) throw new ModelError(`${INDEX} is no index of epochs`);
  return listed.map((entry) => ({
    epoch: entry.epoch, step: entry.step, training: entry.training_nats_per_token, validation: entry.validation_nats_per_word,
    file: `${FOLDER}/${entry.file}`,
  }));
}

/**
 * @typedef {object} NextWord
 * @property {string} name
 * @property {number} probability at temperature 1, with nothing cut
 * @property {boolean} isOwn whether it is the text's word
 */

/**
 * @param {import("../store.js").State} state
 * @param {import("../i18n.js").Text} text
 * @param {number} position
 * @returns {Promise<NextWord[]>} the likeliest words, and the text's
 */
async function nextWords(state, text, position) {
  const { model, inner, ids, vocabulary } = /** @type {any} */ (state), size = model.config.vocabSize;
  const logits = inner.logits.subarray((position - 1) * size, position * size);
  const { ids: ranked, before } = distribution(logits, { suppress: model.generation.suppress });
  const ranks = Array.from({ length: Math.min(SHOWN, ranked.length) }, (_, rank) => rank), own = ranked.indexOf(ids[position]);
  if (own >= ranks.length) ranks.push(own);
  const labels = await vocabulary.labels(ranks.map((rank) => ranked[rank]));
  return ranks.map((rank, at) => ({ name: nameOfToken(state, text, ranked[rank], labels[at]), probability: before[rank], isOwn: rank === own }));
}

/** @param {Float32Array} values */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
