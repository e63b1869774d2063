/** Training made visible: the same text, distribution and attention by the weights of each epoch of a run. */
import { ModelError } from "../../model_error.js";
import { ModelFiles } from "../../model_files.js";
import { loadRemoteModel } from "../../remote_model.js";
import { distribution, likeliestRanks, surprises } from "../../sampling.js";
import { fillRow, finder, make, makeItem, say } from "../dom.js";
import { logitsBefore, meanSurprise } from "../inner_values.js";
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
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../store.js").State} State
 * @typedef {import("../store.js").LoadedState} LoadedState
 * @typedef {import("../store.js").ComputedState} ComputedState
 * @typedef {import("../i18n.js").Text} Text
 * @typedef {ReturnType<typeof finder>} Find
 */

/**
 * @param {HTMLElement} element
 * @param {Store} store
 * @param {Text} text
 */
export function mount(element, store, text) {
  const view = new EpochsView(finder(element), store, text);
  store.watch(["model", "tab", "ids", "words", "given", "chosen", "settings", "layer", "head", "writing"], (state) => view.show(state));
}

/** The slider over the epochs of the shown model, and what it shows. */
class EpochsView {
  #models = new EpochModels();
  /** @type {import("../../model_files.js").Source | null} whose epochs are listed */ #listed = null;
  /** @type {Epoch[]} */ #epochs = [];
  /** the number of drawings so far, by which an outdated one is known */ #drawings = 0;
  /** what is drawn */ #drawn = "";

  /**
   * @param {Find} find
   * @param {Store} store
   * @param {Text} text
   */
  constructor(find, store, text) {
    this.find = find;
    this.store = store;
    this.text = text;
    this.slider = find(".epoch");
    this.slider.addEventListener("input", () => this.#describe());
    this.slider.addEventListener("change", () => this.#draw());
  }

  async show(/** @type {State} */ state) {
    if (!state.model || state.source !== this.#listed) this.#forget();
    if (!state.model || !state.source || state.tab !== "epochs" || state.writing) return;
    if (!this.#listed) await this.#list(state.source);
    else await this.#draw();
  }

  #forget() {
    this.#listed = null;
    this.#epochs = [];
    this.#drawings++;
    this.#drawn = "";
    this.#models.close();
    this.#say("");
    this.find(".content").hidden = true;
  }

  #say(/** @type {string | Error} */ line) {
    say(this.find(".epochs-status"), line);
  }

  async #list(/** @type {import("../../model_files.js").Source} */ source) {
    this.#listed = source;
    this.#say(this.text("epochs_loading"));
    try {
      const found = await readIndex(source);
      if (this.#listed !== source) return;
      this.#epochs = found;
    } catch (error) {
      if (this.#listed !== source) return;
      this.#say(/** @type {Error} */ (error));
      // what could not be read is tried again
      this.#listed = null;
      return;
    }
    const last = this.#epochs.length - 1;
    this.#say(last < 0 ? this.text("epochs_none") : "");
    this.find(".epochs-info").hidden = last < 0;
    this.find(".content").hidden = last < 0;
    if (last < 0) return;
    this.slider.max = last;
    this.slider.value = last;
    await this.#draw();
  }

  #describe() {
    const line = lineOf(this.#epochs[this.slider.valueAsNumber], this.#epochs[this.#epochs.length - 1].epoch, this.text);
    this.find(".epoch-line").textContent = line;
    this.slider.setAttribute("aria-valuetext", line);
  }

  async #draw() {
    const { state } = this.store, { vocabulary, ids, words, given, chosen, settings, layer, head } = state;
    if (!this.#epochs.length || !state.source || !vocabulary || ids.length < 2) return;
    this.#describe();
    const { epoch, file } = this.#epochs[this.slider.valueAsNumber], position = chosen ?? Math.min(given || 1, ids.length - 1);
    const key = JSON.stringify([file, ids, given, position, settings, layer, head]);
    if (key === this.#drawn || words.length !== ids.length) return;
    this.#drawn = key;
    const current = ++this.#drawings, isCurrent = () => current === this.#drawings;
    this.#say(this.text("epochs_loading_one", { epoch }));
    try {
      const model = await this.#models.get(state.source, file);
      if (isCurrent()) await drawEpoch(this.find, this.text, { ...state, model, vocabulary }, position, isCurrent);
      if (isCurrent()) this.#say("");
    } catch (error) {
      if (!isCurrent()) return;
      this.#drawn = "";
      this.#say(/** @type {Error} */ (error));
    }
  }
}

/**
 * @param {Epoch} epoch
 * @param {number} last
 * @param {Text} text
 * @returns {string}
 */
function lineOf({ epoch, step, training, validation }, last, text) {
  const losses = { training: training === null ? "" : text.fixed(training, 3), validation: text.fixed(validation, 3) };
  return text(epoch ? "epoch_line" : "epoch_line_random", { epoch, last, step: text.count(step), ...losses });
}

/**
 * @param {Find} find
 * @param {Text} text
 * @param {LoadedState} state with the epoch's model
 * @param {number} position
 * @param {() => boolean} isCurrent false when another drawing has begun
 */
async function drawEpoch(find, text, state, position, isCurrent) {
  const { ids, given, settings, vocabulary, model } = state;
  const inner = await model.forward(ids), here = { ...state, inner };
  const found = await nextWords(here, text, position);
  if (!isCurrent()) return;
  drawNext(find, text, here, position, found);
  drawAttention(find(".epoch-attended"), here, text, position);
  find(".epoch-surprise").textContent = text("epoch_surprise", { nats: text.fixed(meanSurprise(surprises(inner.logits, ids), given), 3) });
  const { ids: added } = await model.generate(ids.slice(0, given), { ...settings, maxNewTokens: WRITTEN });
  const written = await vocabulary.decode([...ids.slice(0, given), ...added]);
  if (isCurrent()) find(".epoch-text").textContent = written;
}

/**
 * @param {Find} find
 * @param {Text} text
 * @param {ComputedState} state
 * @param {number} position
 * @param {NextWord[]} found
 */
function drawNext(find, text, state, position, found) {
  find(".epoch-next-heading").textContent = text("epoch_next", { word: nameOfWord(state, text, position - 1) });
  const highest = Math.max(...found.map(({ probability }) => probability));
  find(".epoch-next").replaceChildren(...found.map(({ name, probability, isOwn }) => {
    const row = make("div", "bar"), item = makeItem(row, isOwn ? "chosen" : "");
    fillRow(row, name, [[probability / highest, "after"]], [text.percent(probability)]);
    if (isOwn) item.setAttribute("aria-current", "true");
    return item;
  }));
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
    const found = this.#models.get(file);
    this.#models.delete(file);
    found?.loading.abort();
    found?.model.then((loaded) => loaded.close(), () => {});
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
 * @param {ComputedState} state
 * @param {Text} text
 * @param {number} position
 * @returns {Promise<NextWord[]>} the likeliest words, and the text's
 */
async function nextWords(state, text, position) {
  const { model, ids, vocabulary } = state;
  const found = distribution(logitsBefore(state, position), { suppress: model.generation.suppress });
  const { ids: ranked, before } = found, own = ranked.indexOf(ids[position]), ranks = likeliestRanks(found, SHOWN, own);
  const labels = await vocabulary.labels(ranks.map((rank) => ranked[rank]));
  return ranks.map((rank, at) => ({ name: nameOfToken(state, text, ranked[rank], labels[at]), probability: before[rank], isOwn: rank === own }));
}
