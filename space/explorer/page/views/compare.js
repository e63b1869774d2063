/** Compare two texts side by side: two beginnings, two temperatures or two models, with the same seed. */
import { parseSource } from "../../model_files.js";
import { loadRemoteModel } from "../../remote_model.js";
import { surprises } from "../../sampling.js";
import { finder, make, say, setBounds } from "../dom.js";
import { idTokenizer } from "../id_tokenizer.js";
import { nameOfWord } from "../names.js";
import { isAllowed } from "../policy.js";
import { isMark, shownWords } from "../shown_words.js";
import { BOUNDS, isLoaded } from "../store.js";
import { promptOf, writtenWords } from "../writing.js";

const MARKED = 5, LEAST_DIFFERENCE = 0.01;

/**
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../store.js").RemoteModel} RemoteModel
 * @typedef {import("../store.js").Vocabulary} Vocabulary
 * @typedef {import("../i18n.js").Text} Text
 * @typedef {ReturnType<typeof finder>} Find
 */

/**
 * @typedef {object} Differences
 * @property {number[]} own probability of each written word after this side's prompt
 * @property {number[]} other probability of each written word after the other side's prompt
 * @property {number[]} marked indices of the words where these differ most
 */

/**
 * @typedef {object} Side
 * @property {RemoteModel} model
 * @property {Vocabulary} vocabulary
 * @property {number} temperature
 * @property {number[]} ids
 * @property {import("../store.js").Word[]} words
 * @property {number} given
 */

/**
 * @param {HTMLElement} element
 * @param {Store} store
 * @param {Text} text
 */
export function mount(element, store, text) {
  const find = finder(element), status = find(".compare-status"), others = new OtherModel(text, status);
  /** @type {AbortController | null} */ let running = null;

  async function compare() {
    const { state } = store;
    if (!isLoaded(state)) return;
    running?.abort();
    const controller = running = new AbortController(), { signal } = controller, { model, vocabulary } = state;
    const isCurrent = () => running === controller;
    find(".stop-both").hidden = false;
    try {
      const name = find(".right-model").value.trim(), source = name ? parseSource(name, undefined, document.baseURI) : null;
      if (source && !isAllowed(source)) return say(status, text("compare_other_host"));
      const second = await others.get(name, source, signal);
      if (!isCurrent()) return;
      say(status, text("writing"));
      const left = await writeSide(find, state.settings, "left", model, vocabulary, signal);
      const right = await writeSide(find, state.settings, "right", second ?? model, second ? (second.tokenizer ?? idTokenizer) : vocabulary, signal);
      const [ofLeft, ofRight] = [await differences(left, right), await differences(right, left)];
      if (!isCurrent()) return;
      drawSide(find, store, text, "left", left, ofLeft);
      drawSide(find, store, text, "right", right, ofRight);
      say(status, ofLeft ? "" : text("compare_other_words"));
    } catch (error) {
      if (isCurrent()) say(status, /** @type {Error} */ (error));
    } finally {
      if (isCurrent()) end();
    }
  }

  function end() {
    running = null;
    find(".stop-both").hidden = true;
  }

  for (const side of ["left", "right"]) setBounds(find(`.${side}-temperature`), BOUNDS.temperature);
  find("form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    compare();
  });
  find(".stop-both").addEventListener("click", () => running?.abort());
  store.watch(["model"], () => {
    running?.abort();
    end();
    say(status, "");
    for (const side of ["left", "right"]) {
      find(`.${side}-prompt`).value = "";
      find(`.${side}-text`).replaceChildren();
      find(`.${side}-differ`).hidden = true;
    }
  });
  store.watch(["model", "begun", "tab"], ({ model, begun, settings, tab }) => {
    if (tab !== "compare" || !model) return;
    for (const side of ["left", "right"]) {
      find(`.${side}-prompt`).value ||= begun ?? "";
      find(`.${side}-temperature`).value ||= side === "left" ? "0.5" : String(Math.max(settings.temperature, 1));
    }
  });
}

/** The model that the right side names; the last one stays loaded. */
class OtherModel {
  /** @type {{name: string, model: RemoteModel} | null} */ #loaded = null;

  /**
   * @param {Text} text
   * @param {HTMLElement} status
   */
  constructor(text, status) {
    this.text = text;
    this.status = status;
  }

  /**
   * @param {string} name
   * @param {import("../../model_files.js").Source | null} source that it names, null if it is empty
   * @param {AbortSignal} signal
   * @returns {Promise<RemoteModel | null>} null if the name is empty
   */
  async get(name, source, signal) {
    if (this.#loaded?.name !== name) {
      this.#loaded?.model.close();
      this.#loaded = null;
    }
    if (!source || this.#loaded) return this.#loaded?.model ?? null;
    say(this.status, this.text("loading_start", { name }));
    const model = await loadRemoteModel(source, { signal });
    this.#loaded = { name, model };
    return model;
  }
}

/**
 * @param {Find} find
 * @param {import("../store.js").Settings} settings
 * @param {string} name left or right
 * @param {RemoteModel} model
 * @param {Vocabulary} vocabulary
 * @param {AbortSignal} signal
 * @returns {Promise<Side>}
 */
async function writeSide(find, settings, name, model, vocabulary, signal) {
  const temperature = find(`.${name}-temperature`).valueAsNumber;
  const { ids, words } = await promptOf(vocabulary, model.generation.bos, find(`.${name}-prompt`).value);
  const written = await model.generate(ids, { ...settings, temperature, maxNewTokens: settings.length, signal });
  const all = [...ids, ...written.ids], added = await writtenWords(vocabulary, words, all);
  return { model, vocabulary, temperature, ids: all, given: ids.length, words: [...words, ...added] };
}

/**
 * @param {Find} find
 * @param {Store} store
 * @param {Text} text
 * @param {string} name left or right
 * @param {Side} side
 * @param {Differences | null} found
 */
function drawSide(find, store, text, name, side, found) {
  const state = { ...store.state, ...side, raw: false, hiddenFrom: null }, marked = found?.marked ?? [];
  find(`.${name}-text`).replaceChildren(...shownText(state, text, new Set(marked.map((at) => at + side.given))));
  const table = find(`.${name}-differ`);
  table.hidden = !marked.length;
  table.querySelector("tbody").replaceChildren(...marked.map((at) => {
    const row = make("tr"), head = make("th", "", nameOfWord(state, text, at + side.given));
    head.scope = "row";
    row.append(head, ...[found?.own[at], found?.other[at]].map((value) => make("td", "figure", text.percent(value ?? 0))));
    return row;
  }));
}

/**
 * @param {import("../store.js").State} state
 * @param {Text} text
 * @param {Set<number>} marked positions
 * @returns {(string | HTMLElement)[]} the text's words, with the white space between them
 */
function shownText(state, text, marked) {
  const bare = shownWords(state, text);
  return state.words.flatMap((word, at) => {
    const shown = make(marked.has(at) ? "mark" : "span", at < state.given || isMark(bare[at]) ? "quiet-word" : "", bare[at]);
    const isApart = /^\s/.test(word.text) || isMark(bare[at]) || isMark(bare[at - 1]);
    return isApart ? [" ", shown] : [shown];
  });
}

/**
 * @param {Side} side
 * @param {Side} other
 * @returns {Promise<Differences | null>} null if the sides' words are not the same tokens
 */
async function differences(side, other) {
  const written = side.ids.slice(side.given), labels = await side.vocabulary.labels(written);
  const isSame = side.model.config.vocabSize === other.model.config.vocabSize && String(labels) === String(await other.vocabulary.labels(written));
  const there = [...other.ids.slice(0, other.given), ...written];
  if (!isSame || there.length > other.model.config.positions) return null;
  const own = await probabilities(side, side.ids, side.given), elsewhere = await probabilities(other, there, other.given);
  const distance = (/** @type {number} */ at) => Math.abs(own[at] - elsewhere[at]);
  const marked = own.map((_, at) => at).filter((at) => distance(at) >= LEAST_DIFFERENCE).sort((one, two) => distance(two) - distance(one)).slice(0, MARKED);
  return { own, other: elsewhere, marked };
}

/**
 * @param {Side} side
 * @param {number[]} ids
 * @param {number} given
 * @returns {Promise<number[]>} the probability of each id after the given ones, at the side's temperature
 */
async function probabilities({ model, temperature }, ids, given) {
  if (ids.length === given) return [];
  const { logits } = await model.forward(ids), { vocabSize } = model.config;
  for (let i = 0; i < logits.length; i++) logits[i] /= temperature || 1;
  for (let from = 0; from < logits.length; from += vocabSize) for (const id of model.generation.suppress) logits[from + id] = -Infinity;
  return Array.from(surprises(logits, ids).subarray(given - 1), (nats) => Math.exp(-nats));
}
