/** Compare two texts side by side: two beginnings, two temperatures or two models, with the same seed. */
import { ModelError } from "../../model_error.js";
import { parseSource } from "../../model_files.js";
import { loadRemoteModel } from "../../remote_model.js";
import { surprises } from "../../sampling.js";
import { finder, make } from "../dom.js";
import { idTokenizer } from "../id_tokenizer.js";
import { nameOfWord } from "../names.js";
import { isAllowed } from "../policy.js";
import { isMark, shownWords } from "../shown_words.js";
import { promptOf } from "../writing.js";

const MARKED = 5, LEAST_DIFFERENCE = 0.01;

/**
 * @typedef {object} Side
 * @property {any} model
 * @property {any} vocabulary
 * @property {number} temperature
 * @property {number[]} ids
 * @property {import("../store.js").Word[]} words
 * @property {number} given
 */

/**
 * @param {HTMLElement} element
 * @param {import("../store.js").Store} store
 * @param {import("../i18n.js").Text} text
 */
export function mount(element, store, text) {
  const find = finder(element), status = find(".compare-status");
  /** @type {AbortController | null} */ let running = null;
  /** @type {{name: string, model: any} | null} */ let other = null;

  async function compare() {
    running?.abort();
    const controller = running = new AbortController(), { signal } = controller, { state } = store;
    const isCurrent = () => running === controller && store.state.model === state.model;
    find(".stop-both").hidden = false;
    try {
      const { model, vocabulary } = state, second = await otherModel(find(".right-model").value.trim(), signal);
      if (!isCurrent()) return;
      status.textContent = text("writing");
      const left = await writeSide(model, vocabulary, "left", signal);
      const right = await writeSide(second ?? model, second ? (second.tokenizer ?? idTokenizer) : vocabulary, "right", signal);
      const [ofLeft, ofRight] = [await differences(left, right), await differences(right, left)];
      if (!isCurrent()) return;
      drawSide("left", left, ofLeft);
      drawSide("right", right, ofRight);
      status.textContent = ofLeft ? "" : text("compare_other_words");
    } catch (error) {
      if (isCurrent()) status.textContent = /** @type {Error} */ (error).message;
    } finally {
      if (running === controller) {
        running = null;
        find(".stop-both").hidden = true;
      }
    }
  }

  /** @returns {Promise<any>} the right side's model, null if it is the page's */
  async function otherModel(/** @type {string} */ name, /** @type {AbortSignal} */ signal) {
    if (other?.name !== name) {
      other?.model.close();
      other = null;
    }
    if (!name || other) return other?.model ?? null;
    status.textContent = text("loading_start", { name });
    const source = parseSource(name, undefined, document.baseURI), endpoint = store.state.source?.endpoint;
    if (source.hub && endpoint) source.endpoint = endpoint;
    if (!isAllowed(source)) throw new ModelError(text("compare_other_host"));
    const model = await loadRemoteModel(source, { signal });
    other = { name, model };
    return model;
  }

  /** @returns {Promise<Side>} */
  async function writeSide(/** @type {any} */ model, /** @type {any} */ vocabulary, /** @type {string} */ side, /** @type {AbortSignal} */ signal) {
    const { settings } = store.state, temperature = find(`.${side}-temperature`).valueAsNumber;
    const { ids, words } = await promptOf(vocabulary, model.generation.bos, find(`.${side}-prompt`).value);
    const { topK, topP, seed, length } = settings;
    const written = await model.generate(ids, { temperature, topK, topP, seed, maxNewTokens: length, signal });
    const all = [...ids, ...written.ids], pieces = await vocabulary.pieces(all, ids.length), labels = await vocabulary.labels(written.ids);
    return { model, vocabulary, temperature, ids: all, given: ids.length, words: [...words, ...pieces.map((/** @type {string} */ piece, /** @type {number} */ at) => ({ text: piece, label: labels[at], known: true }))] };
  }

  function drawSide(/** @type {string} */ name, /** @type {Side} */ side, /** @type {{own: number[], other: number[], marked: number[]} | null} */ found) {
    const state = /** @type {any} */ ({ ...store.state, ...side, raw: false, hiddenFrom: null }), { bare } = shownWords(state, text);
    const box = find(`.${name}-text`), marked = new Set(found?.marked.map((at) => at + side.given));
    box.replaceChildren(...side.words.flatMap((word, at) => {
      const shown = make(marked.has(at) ? "mark" : "span", at < side.given || isMark(bare[at]) ? "quiet-word" : "", bare[at]);
      const isApart = /^\s/.test(word.text) || isMark(bare[at]) || isMark(bare[at - 1]);
      return isApart ? [" ", shown] : [shown];
    }));
    const table = find(`.${name}-differ`);
    table.hidden = !found?.marked.length;
    table.querySelector("tbody").replaceChildren(...(found?.marked ?? []).map((at) => {
      const row = make("tr"), head = make("th", "", nameOfWord(state, text, at + side.given));
      head.scope = "row";
      row.append(head, ...[found?.own[at], found?.other[at]].map((value) => make("td", "figure", text.percent(value ?? 0))));
      return row;
    }));
  }

  find("form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    if (store.state.model) compare();
  });
  find(".stop-both").addEventListener("click", () => running?.abort());
  store.watch(["model", "begun", "tab"], ({ model, begun, settings, tab }) => {
    if (tab !== "compare" || !model) return;
    for (const side of ["left", "right"]) {
      find(`.${side}-prompt`).value ||= begun ?? "";
      find(`.${side}-temperature`).value ||= side === "left" ? "0.5" : String(Math.max(settings.temperature, 1));
    }
  });
}

/**
 * @param {Side} side
 * @param {Side} other
 * @returns {Promise<{own: number[], other: number[], marked: number[]} | null>} for each written word of a side its probability there and
 *   after the other side's prompt; null if the sides' words are not the same tokens
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
