/** Why this word: the distribution that it was drawn from, the drawn number, and the attention to earlier words. */
import { distribution, draw, likeliestRanks } from "../../sampling.js";
import { fillRow, fillSelect, finder, make, makeButton, makeItem, setBounds } from "../dom.js";
import { logitsBefore } from "../inner_values.js";
import { nameOfToken, nameOfWord } from "../names.js";
import { BOUNDS, isComputed } from "../store.js";
import { numberOf, take } from "../writing.js";
import { drawAttention } from "./attention.js";

const SHOWN = 10, DRAWS = 100;

/**
 * @typedef {import("../store.js").State} State
 * @typedef {import("../store.js").ComputedState} ComputedState
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../i18n.js").Text} Text
 * @typedef {ReturnType<typeof finder>} Find
 */

/**
 * @typedef {object} Choice one step's distribution
 * @property {import("../../sampling.js").Distribution} after with the page's settings
 * @property {Float32Array} before by rank, at temperature 1 and with nothing cut
 * @property {number} own rank of the text's word
 */

/**
 * @typedef {object} Row a word of the distribution
 * @property {number} rank
 * @property {string} name
 */

/**
 * @param {HTMLElement} element
 * @param {Store} store
 * @param {Text} text
 */
export function mount(element, store, text) {
  const find = finder(element);
  mountSliders(find, store, text);
  mountHeadSelects(find, store, text);
  mountSteps(find, store);
  mountDistribution(find, store, text);
  store.watch(["inner", "chosen", "layer", "head", "tab"], (state) => {
    if (isComputed(state) && state.chosen !== null && state.tab === "next") drawAttention(find(".attended"), state, text, state.chosen);
  });
}

/** @type {[string, "temperature" | "topK" | "topP", [number, number]][]} class, setting and bounds of each slider; in a link top-k can be larger */
const SLIDERS = [["temperature", "temperature", BOUNDS.temperature], ["top-k", "topK", [0, 100]], ["top-p", "topP", BOUNDS.topP]];

/**
 * @param {Find} find
 * @param {Store} store
 * @param {Text} text
 */
function mountSliders(find, store, text) {
  for (const [name, key, bounds] of SLIDERS) {
    setBounds(find(`.${name}`), bounds);
    find(`.${name}`).addEventListener("input", () => {
      // the text was written with other settings, so that its link must hold its words
      store.set({ settings: { ...store.state.settings, [key]: find(`.${name}`).valueAsNumber }, edited: true });
    });
  }
  store.watch(["settings"], ({ settings }) => {
    for (const [name, key] of SLIDERS) find(`.${name}`).value = settings[key];
    find(".temperature-value").textContent = settings.temperature === 0 ? text("greedy") : text.number(settings.temperature);
    find(".top-k-value").textContent = settings.topK ? text.count(settings.topK) : text("off");
    find(".top-p-value").textContent = settings.topP < 1 ? text.number(settings.topP) : text("off");
  });
}

/**
 * @param {Find} find
 * @param {Store} store
 * @param {Text} text
 */
function mountHeadSelects(find, store, text) {
  for (const key of /** @type {("layer" | "head")[]} */ (["layer", "head"])) {
    find(`select.${key}`).addEventListener("change", () => {
      const { value } = find(`select.${key}`);
      store.set({ [key]: value === "" ? null : Number(value) });
    });
  }
  const options = (/** @type {number} */ count) => /** @type {[string, string][]} */ (
    [["", text("mean")], ...Array.from({ length: count }, (_, at) => [String(at), String(at)])]
  );
  store.watch(["model", "layer", "head"], ({ model, layer, head }) => {
    fillSelect(find("select.layer"), options(model?.config.layers ?? 0), String(layer ?? ""));
    fillSelect(find("select.head"), options(model?.config.heads ?? 0), String(head ?? ""));
  });
}

/**
 * The buttons to the word before, to the word after, and back to the text.
 * @param {Find} find
 * @param {Store} store
 */
function mountSteps(find, store) {
  const step = (/** @type {number} */ by) => store.set({ chosen: /** @type {number} */ (store.state.chosen) + by });
  find(".back").addEventListener("click", () => step(-1));
  find(".forward").addEventListener("click", () => step(1));
  find(".close").addEventListener("click", () => {
    const { chosen } = store.state;
    store.set({ chosen: null });
    /** @type {HTMLElement | null} */ (document.querySelector(`.text-card [data-position="${chosen}"]`))?.focus();
  });
}

/**
 * @param {Find} find
 * @param {Store} store
 * @param {Text} text
 */
function mountDistribution(find, store, text) {
  /** @type {Choice | null} */ let choice = null;
  let drawing = 0;

  async function redraw(/** @type {State} */ state) {
    const { chosen, tab, given } = state;
    find(".ask").hidden = chosen !== null;
    if (tab !== "next" || chosen === null || !isComputed(state)) {
      find(".content").hidden = chosen === null || (find(".content").hidden && !state.inner);
      return;
    }
    choice = choose(state, chosen);
    const { after } = choice, current = ++drawing, ranks = likeliestRanks(after, SHOWN, choice.own);
    const number = numberOf(state, chosen), drawnRank = number === null ? 0 : draw(after, number);
    const labels = await state.vocabulary.labels([...ranks, drawnRank].map((rank) => after.ids[rank]));
    if (current !== drawing) return;
    const rows = [...ranks, drawnRank].map((rank, at) => ({ rank, name: nameOfToken(state, text, after.ids[rank], labels[at]) }));
    const drawn = /** @type {Row} */ (rows.pop());
    find(".content").hidden = false;
    drawHead(find, state, text, choice);
    find(".wide-pane .bars").replaceChildren(...makeRows(text, choice, rows, chosen >= given ? takeWord : null));
    drawLine(find(".cumulative"), choice, number);
    find(".number-line").textContent = describeNumber(state, text, choice, number, drawn);
    find(".drawn-hundred").textContent = "";
  }

  async function takeWord(/** @type {number} */ id) {
    await take(store, /** @type {number} */ (store.state.chosen), id);
    find(".chosen-word").tabIndex = -1;
    find(".chosen-word").focus();
  }

  find(".draw-hundred").addEventListener("click", () => { if (choice) drawHundred(find, text, choice.after); });
  store.watch(["inner", "chosen", "settings", "tab"], redraw);
}

/**
 * @param {Find} find
 * @param {State} state
 * @param {Text} text
 * @param {Choice} choice
 */
function drawHead(find, state, text, { after, before, own }) {
  const chosen = /** @type {number} */ (state.chosen), name = nameOfWord(state, text, chosen);
  const ends = state.model?.generation.ends.includes(state.ids[chosen]);
  find(".chosen-word").textContent = ends ? name : text("quoted", { word: name });
  find(".chosen-probability").textContent = [
    text("probability_before", { probability: text.percent(before[own]) }),
    text("probability_after", { probability: text.percent(probabilityOf(after, own)) }),
    own === 0 ? text("likeliest") : text("rank", { rank: text.count(own + 1) }),
  ].join(" · ");
  find(".back").disabled = chosen <= 1;
  find(".forward").disabled = chosen >= state.ids.length - 1;
}

/**
 * @param {Text} text
 * @param {Choice} choice
 * @param {Row[]} rows
 * @param {((id: number) => void) | null} takeWord null for a word of the prompt, which can't be replaced
 * @returns {HTMLElement[]} an item for each word, and one for all others
 */
function makeRows(text, { after, before, own }, rows, takeWord) {
  const highest = Math.max(before[0], probabilityOf(after, 0));
  const items = rows.map(({ rank, name }) => {
    const isCut = rank >= after.kept, probability = probabilityOf(after, rank);
    const row = takeWord && rank !== own ? makeButton("bar", "", () => takeWord(after.ids[rank])) : make("div", "bar");
    const figures = [text.percent(before[rank]), isCut ? text("cut") : text.percent(probability)];
    fillRow(row, name, [[before[rank] / highest, "before"], [probability / highest, "after"]], figures);
    if (row instanceof HTMLButtonElement) {
      row.setAttribute("aria-label", `${text("take", { word: name })}, ${text("before")} ${figures[0]}, ${text("after")} ${figures[1]}`);
    }
    const item = makeItem(row, `${rank === own ? "chosen" : ""} ${isCut ? "cut" : ""}`.trim());
    if (rank === own) item.setAttribute("aria-current", "true");
    item.dataset.rank = String(rank);
    return item;
  });
  return after.ids.length > rows.length ? [...items, makeRest(text, { after, before, own }, rows)] : items;
}

/** @returns {HTMLElement} the item for all words without a row */
function makeRest(/** @type {Text} */ text, /** @type {Choice} */ { after, before }, /** @type {Row[]} */ rows) {
  const rest = (/** @type {(rank: number) => number} */ of) => Math.max(0, 1 - rows.reduce((total, { rank }) => total + of(rank), 0));
  const [restBefore, restAfter] = [rest((rank) => before[rank]), rest((rank) => probabilityOf(after, rank))];
  const isCut = restAfter < 1e-9 && after.kept < after.ids.length, row = make("div", "bar");
  const name = text("all_others", { count: text.count(after.ids.length - rows.length) });
  // without bars, which would be many times as long as those of one word
  fillRow(row, name, [], [text.percent(restBefore), isCut ? text("cut") : text.percent(restAfter)]);
  return makeItem(row, `rest ${after.kept <= rows.length ? "cut" : ""}`.trim());
}

/**
 * Draw the words one after the other on a line, each as long as its probability, and the drawn number on it.
 * @param {HTMLElement} line
 * @param {Choice} choice
 * @param {number | null} number null if none was drawn
 */
function drawLine(line, { after, own }, number) {
  const segment = (/** @type {number} */ rank, /** @type {string} */ kind) => {
    const part = make("i", kind);
    part.style.left = `${100 * (rank ? after.cumulative[rank - 1] : 0)}%`;
    part.style.width = `${100 * probabilityOf(after, rank)}%`;
    return part;
  };
  const parts = Array.from({ length: Math.min(SHOWN, after.kept) }, (_, rank) => segment(rank, rank % 2 ? "odd" : "even"));
  if (own < after.kept) parts.push(segment(own, "own"));
  if (number !== null) {
    const marker = make("b");
    marker.style.left = `${100 * number}%`;
    parts.push(marker);
  }
  line.replaceChildren(...parts);
}

/**
 * @param {State} state
 * @param {Text} text
 * @param {Choice} choice
 * @param {number | null} number null if none was drawn
 * @param {Row} drawn the word that the number draws with the page's settings
 * @returns {string}
 */
function describeNumber({ chosen, given, words, settings }, text, { own }, number, { rank, name }) {
  const position = /** @type {number} */ (chosen);
  if (position < given) return text("number_prompt");
  if (words[position].linked) return text("number_linked");
  if (settings.temperature === 0 || number === null) return text("number_greedy");
  const key = words[position].taken ? "number_taken" : rank === own ? "number_drew" : "number_now";
  return text(key, { number: text.fixed(number, 4), word: name });
}

/**
 * Draw 100 words, and show beside each row how often it came out.
 * @param {Find} find
 * @param {Text} text
 * @param {import("../../sampling.js").Distribution} after
 */
function drawHundred(find, text, after) {
  /** @type {Map<number, number>} how often each rank came out */ const counts = new Map();
  for (let i = 0; i < DRAWS; i++) {
    const rank = draw(after, Math.random());
    counts.set(rank, (counts.get(rank) ?? 0) + 1);
  }
  let listed = 0;
  /** @type {string[]} */ const words = [];
  for (const item of find(".wide-pane .bars").children) {
    const rank = item.dataset.rank, count = rank === undefined ? DRAWS - listed : (counts.get(Number(rank)) ?? 0);
    listed += rank === undefined ? 0 : count;
    item.querySelector(".count")?.remove();
    item.querySelector(".bar").append(make("span", "figure count", text("times", { count })));
    words.push(text("drawn_word", { word: item.querySelector(".bar-word").textContent, count }));
  }
  find(".drawn-hundred").textContent = text("drawn_hundred", { words: words.join(", ") });
}

/**
 * @param {ComputedState} state
 * @param {number} position
 * @returns {Choice}
 */
function choose(state, position) {
  const { settings, model, ids } = state, { suppress } = model.generation;
  const logits = logitsBefore(state, position);
  const plain = distribution(logits, { suppress });
  // any temperature keeps the order of the words, except that a low one makes many probabilities 0 in float32
  const after = { ...distribution(logits, { ...settings, suppress }), ids: plain.ids };
  return { after, before: plain.before, own: plain.ids.indexOf(ids[position]) };
}

/**
 * @param {import("../../sampling.js").Distribution} distribution
 * @param {number} rank
 * @returns {number} the probability that a rank is drawn, 0 if it is cut
 */
function probabilityOf({ cumulative, kept }, rank) {
  return rank >= kept ? 0 : cumulative[rank] - (rank ? cumulative[rank - 1] : 0);
}
