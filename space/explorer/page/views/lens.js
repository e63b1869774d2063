/** The logit lens: what the model would have said after each layer. */
import { distribution } from "../../sampling.js";
import { finder, make, makeBar } from "../dom.js";
import { nameOfToken, nameOfWord } from "../names.js";
import { isComputed } from "../store.js";

const SHOWN = 5;

/**
 * @param {HTMLElement} element
 * @param {import("../store.js").Store} store
 * @param {import("../i18n.js").Text} text
 */
export function mount(element, store, text) {
  const find = finder(element);

  store.watch(["inner", "chosen", "tab", "words"], async (state) => {
    const { chosen, tab, ids } = state;
    find(".ask").hidden = chosen !== null;
    find(".content").hidden = chosen === null;
    if (!isComputed(state) || chosen === null || tab !== "lens") return;
    const { model, inner } = state;
    const found = await wordsByLayer(state, text, chosen);
    if (store.state.inner !== inner || store.state.chosen !== chosen) return;
    const own = nameOfWord(state, text, chosen);
    find(".chosen-word").textContent = model.generation.ends.includes(ids[chosen]) ? own : text("quoted", { word: own });
    find(".own-heading").textContent = text("lens_own", { word: own });
    find("tbody").replaceChildren(...found.map(drawLayer));
  });

  function drawLayer(/** @type {LayerWords} */ { words, own, rank }, /** @type {number} */ layer) {
    const row = make("tr"), head = make("th", "", layer === 0 ? text("lens_embedding") : text("lens_layer", { layer: layer - 1 }));
    head.scope = "row";
    const list = make("td", "lens-words");
    for (const { name, probability, isOwn } of words) {
      const word = make("span", isOwn ? "lens-word own" : "lens-word", `${name} `);
      word.style.setProperty("--strength", String(probability));
      word.append(make("small", "", text.percent(probability)));
      list.append(word, " ");
    }
    const figure = make("td", "lens-own"), both = make("span", "both");
    both.append(makeBar(own));
    figure.append(both, make("span", "figure", text.percent(own)), make("span", "quiet", text("lens_rank", { rank: text.count(rank + 1) })));
    row.append(head, list, figure);
    return row;
  }
}

/**
 * @typedef {object} LayerWords
 * @property {{name: string, probability: number, isOwn: boolean}[]} words the likeliest
 * @property {number} own probability of the text's word
 * @property {number} rank of it, 0 for the likeliest
 */

/**
 * @param {import("../store.js").ComputedState} state
 * @param {import("../i18n.js").Text} text
 * @param {number} position
 * @returns {Promise<LayerWords[]>} for the embeddings and each layer
 */
async function wordsByLayer(state, text, position) {
  const { model, inner, ids, vocabulary } = state, { width, vocabSize } = model.config;
  const residuals = new Float32Array(inner.hidden.length * width);
  inner.hidden.forEach((rows, layer) => {
    residuals.set(rows.subarray((position - 1) * width, position * width), layer * width);
  });
  const logits = await model.lens(residuals), id = ids[position];
  const found = Array.from(inner.hidden, (_, layer) =>
    distribution(logits.subarray(layer * vocabSize, (layer + 1) * vocabSize), { suppress: model.generation.suppress }),
  );
  const labels = await vocabulary.labels(found.flatMap((each) => [...each.ids.subarray(0, SHOWN)]));
  const shown = Math.min(SHOWN, vocabSize);
  return found.map((each, layer) => {
    const rank = each.ids.indexOf(id);
    const words = Array.from({ length: shown }, (_, at) => ({
      name: nameOfToken(state, text, each.ids[at], labels[layer * shown + at]), probability: each.before[at], isOwn: at === rank,
    }));
    return { words, own: each.before[rank], rank };
  });
}
