/** Query and key step by step: how one attention weight comes about. */
import { fillSelect, finder, make, makeBar } from "../dom.js";
import { nameOfWord } from "../names.js";
import { isComputed } from "../store.js";

/**
 * @typedef {object} Score how one word's query meets one word's key
 * @property {Float32Array} query
 * @property {Float32Array} key
 * @property {number[]} products
 * @property {number} sum
 * @property {number} scale
 * @property {number[]} scores of the query's word with each word up to it
 * @property {Float32Array} weights their softmax
 */

/**
 * @param {HTMLElement} element
 * @param {import("../store.js").Store} store
 * @param {import("../i18n.js").Text} text
 */
export function mount(element, store, text) {
  const find = finder(element);
  /** @type {number | null} position of the key's word; null is the one with the largest weight */ let keyAt = null;
  /** @type {number | null} position of the query's word; null is the word before the chosen one */ let queryAt = null;

  function redraw(/** @type {import("../store.js").State} */ state) {
    const { tab, ids, words } = state;
    find(".ask").hidden = ids.length > 1;
    find(".content").hidden = ids.length < 2;
    if (!isComputed(state) || tab !== "scores") return;
    const { inner, model } = state;
    const layer = state.layer ?? 0, head = state.head ?? 0, from = queryPosition(state);
    const row = inner.attentions[layer][head].subarray(from * ids.length, from * ids.length + from + 1);
    const to = keyAt !== null && keyAt <= from ? keyAt : row.indexOf(Math.max(...row));
    const names = words.map((_, at) => `${at} ${nameOfWord(state, text, at)}`);
    const options = names.map((name, at) => /** @type {[string, string]} */ ([String(at), name]));
    const numbers = (/** @type {number} */ count) => Array.from({ length: count }, (_, at) => /** @type {[string, string]} */ ([String(at), String(at)]));
    fillSelect(find(".query-word"), options, String(from));
    fillSelect(find(".key-word"), options.slice(0, from + 1), String(to));
    fillSelect(find(".layer"), numbers(model.config.layers), String(layer));
    fillSelect(find(".head"), numbers(model.config.heads), String(head));
    const score = scoreOf(state, layer, head, from, to);
    drawVectors(score, nameOfWord(state, text, from), nameOfWord(state, text, to));
    drawSteps(score, to);
    drawRow(score, names, from, to);
  }

  function queryPosition(/** @type {import("../store.js").State} */ { chosen, ids }) {
    return Math.min(queryAt ?? (chosen === null ? ids.length - 2 : chosen - 1), ids.length - 1);
  }

  function drawVectors(/** @type {Score} */ { query, key, products }, /** @type {string} */ from, /** @type {string} */ to) {
    /** @type {[string, ArrayLike<number>][]} */
    const rows = [[text("query_of", { word: from }), query], [text("key_of", { word: to }), key], [text("products"), products]];
    find(".vectors").replaceChildren(...rows.map(([name, values]) => {
      const row = make("tr"), head = make("th", "", name), largest = Math.max(...Array.from(values, Math.abs)) || 1;
      head.scope = "row";
      row.append(head, ...Array.from(values, (value) => {
        const cell = make("td", value < 0 ? "negative" : "positive", text.fixed(value));
        cell.style.setProperty("--strength", String(Math.abs(value) / largest));
        return cell;
      }));
      return row;
    }));
  }

  function drawSteps(/** @type {Score} */ { sum, scale, scores, weights }, /** @type {number} */ to) {
    const total = scores.reduce((all, score) => all + Math.exp(score), 0);
    const parts = { sum: text.fixed(sum, 3), scale: text.fixed(scale, 4), score: text.fixed(scores[to], 3), power: text.number(Math.exp(scores[to])), total: text.number(total), weight: text.percent(weights[to]) };
    find(".score-steps").replaceChildren(...["step_sum", "step_scale", "step_softmax"].map((key) => make("li", "", text(key, parts))));
  }

  function drawRow(/** @type {Score} */ { scores, weights }, /** @type {string[]} */ names, /** @type {number} */ from, /** @type {number} */ to) {
    const highest = Math.max(...weights);
    find(".score-row").replaceChildren(...names.map((name, at) => {
      const row = make("tr", at === to ? "chosen" : at > from ? "masked" : ""), head = make("th", "", name);
      const bar = make("td", "score-bar"), both = make("span", "both");
      head.scope = "row";
      if (at <= from) both.append(makeBar(weights[at] / highest));
      bar.append(both);
      row.append(head, make("td", "figure", at > from ? "−∞" : text.fixed(scores[at])), bar, make("td", "figure", at > from ? text.percent(0) : text.percent(weights[at])));
      return row;
    }));
  }

  for (const name of ["layer", "head"]) {
    find(`.${name}`).addEventListener("change", () => {
      const { layer, head } = store.state;
      store.set({ layer: layer ?? 0, head: head ?? 0, [name]: Number(find(`.${name}`).value) });
    });
  }
  find(".query-word").addEventListener("change", () => {
    queryAt = Number(find(".query-word").value);
    redraw(store.state);
  });
  find(".key-word").addEventListener("change", () => {
    keyAt = Number(find(".key-word").value);
    redraw(store.state);
  });
  store.watch(["chosen", "ids"], () => { queryAt = keyAt = null; });
  store.watch(["inner", "tab", "layer", "head", "chosen", "words"], redraw);
}

/**
 * @param {import("../store.js").ComputedState} state
 * @param {number} layer
 * @param {number} head
 * @param {number} from position of the query's word
 * @param {number} to position of the key's word
 * @returns {Score}
 */
function scoreOf({ model, inner, ids }, layer, head, from, to) {
  const { headWidth, scaling } = model.config, { queries, keys, attentions } = inner;
  const vector = (/** @type {Float32Array} */ rows, /** @type {number} */ at) => rows.subarray(at * headWidth, (at + 1) * headWidth);
  const query = vector(queries[layer][head], from);
  const productsWith = (/** @type {number} */ at) => Array.from(vector(keys[layer][head], at), (value, i) => value * query[i]);
  const sumOf = (/** @type {number[]} */ values) => values.reduce((sum, value) => sum + value, 0);
  const products = productsWith(to), scale = scaling[layer];
  return {
    query, key: vector(keys[layer][head], to), products, sum: sumOf(products), scale,
    scores: Array.from({ length: from + 1 }, (_, at) => scale * sumOf(productsWith(at))),
    weights: attentions[layer][head].subarray(from * ids.length, from * ids.length + from + 1),
  };
}
