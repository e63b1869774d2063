/** Why this word: the distribution that it was drawn from, the drawn number, and the attention to earlier words. */
import { distribution, draw } from "../../sampling.js";
import { fillSelect, finder, make, makeBar, makeButton } from "../dom.js";
import { attentionRow, logitsBefore } from "../inner_values.js";
import { nameOfToken, nameOfWord } from "../names.js";
import { numberOf, take } from "../writing.js";

const SHOWN = 10, ATTENDED = 6, DRAWS = 100;

/**
 * @typedef {object} Choice one step's distribution
 * @property {import("../../sampling.js").Distribution} after with the page's settings
 * @property {Float32Array} before by rank, at temperature 1 and with nothing cut
 * @property {number} own rank of the text's word
 */

/**
 * @param {HTMLElement} element
 * @param {import("../store.js").Store} store
 * @param {import("../i18n.js").Text} text
 */
export function mount(element, store, text) {
  const find = finder(element);
  /** @type {Choice | null} */ let choice = null;
  /** @type {Map<number, number> | null} how often each rank came out */ let counts = null;
  let drawing = 0;

  async function redraw(/** @type {import("../store.js").State} */ state) {
    const { chosen, inner, tab, vocabulary, given } = state;
    find(".ask").hidden = chosen !== null;
    if (tab !== "next" || chosen === null || !inner) {
      find(".content").hidden = chosen === null || (find(".content").hidden && !inner);
      return;
    }
    choice = choose(state, chosen);
    counts = null;
    const { after, own } = choice, current = ++drawing;
    const ranks = Array.from({ length: Math.min(SHOWN, after.ids.length) }, (_, rank) => rank);
    if (own >= ranks.length) ranks.push(own);
    const number = numberOf(state, chosen), drawnRank = number === null ? 0 : draw(after, number);
    const labels = await vocabulary.labels([...ranks, drawnRank].map((rank) => after.ids[rank]));
    if (current !== drawing) return;
    const names = [...ranks, drawnRank].map((rank, at) => nameOfToken(state, text, after.ids[rank], labels[at]));
    find(".content").hidden = false;
    drawHead(state, choice);
    drawBars(ranks, names, chosen >= given);
    drawNumber(state, choice, names[ranks.length], number, drawnRank);
    find(".drawn-hundred").textContent = "";
  }

  function drawHead(/** @type {import("../store.js").State} */ state, /** @type {Choice} */ { after, before, own }) {
    const chosen = /** @type {number} */ (state.chosen);
    const name = nameOfWord(state, text, chosen), ends = state.model?.generation.ends.includes(state.ids[chosen]);
    find(".chosen-word").textContent = ends ? name : text("quoted", { word: name });
    find(".chosen-probability").textContent = [
      text("probability_before", { probability: text.percent(before[own]) }),
      text("probability_after", { probability: text.percent(probabilityOf(after, own)) }),
      own === 0 ? text("likeliest") : text("rank", { rank: text.count(own + 1) }),
    ].join(" · ");
    find(".back").disabled = chosen <= 1;
    find(".forward").disabled = chosen >= state.ids.length - 1;
  }

  function drawBars(/** @type {number[]} */ ranks, /** @type {string[]} */ names, /** @type {boolean} */ takeable) {
    const { after, before, own } = /** @type {Choice} */ (choice);
    const highest = Math.max(before[0], probabilityOf(after, 0));
    const rows = ranks.map((rank, at) => {
      const cut = rank >= after.kept, probability = probabilityOf(after, rank), id = after.ids[rank];
      const item = make("li", `${rank === own ? "chosen" : ""} ${cut ? "cut" : ""}`.trim());
      const row = takeable && rank !== own ? makeButton("bar", "", () => takeWord(id)) : make("div", "bar");
      const figures = [text.percent(before[rank]), cut ? text("cut") : text.percent(probability)];
      fillRow(row, names[at], [[before[rank] / highest, "before"], [probability / highest, "after"]], figures);
      if (rank === own) item.setAttribute("aria-current", "true");
      if (row instanceof HTMLButtonElement) {
        row.setAttribute("aria-label", `${text("take", { word: names[at] })}, ${text("before")} ${figures[0]}, ${text("after")} ${figures[1]}`);
      }
      item.dataset.rank = rank;
      item.append(row);
      return item;
    });
    const sum = (/** @type {(rank: number) => number} */ of) => Math.max(0, 1 - ranks.reduce((total, rank) => total + of(rank), 0));
    const rest = [sum((rank) => before[rank]), sum((rank) => probabilityOf(after, rank))];
    const item = make("li", `rest ${after.kept <= ranks.length ? "cut" : ""}`), row = make("div", "bar");
    const none = rest[1] < 1e-9 && after.kept < after.ids.length;
    // without bars, which would be many times as long as those of one word
    fillRow(row, text("all_others", { count: text.count(after.ids.length - ranks.length) }), [], [text.percent(rest[0]), none ? text("cut") : text.percent(rest[1])]);
    item.append(row);
    if (after.ids.length > ranks.length) rows.push(item);
    find(".wide-pane .bars").replaceChildren(...rows);
  }

  async function takeWord(/** @type {number} */ id) {
    await take(store, /** @type {number} */ (store.state.chosen), id);
    find(".chosen-word").tabIndex = -1;
    find(".chosen-word").focus();
  }

  function drawNumber(/** @type {import("../store.js").State} */ state, /** @type {Choice} */ { after, own }, /** @type {string} */ name, /** @type {number | null} */ number, /** @type {number} */ drawn) {
    const line = find(".cumulative");
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
    const chosen = /** @type {number} */ (state.chosen), { temperature } = state.settings;
    const key = chosen < state.given ? "number_prompt" : temperature === 0 || number === null ? "number_greedy"
      : state.words[chosen].taken ? "number_taken" : drawn === own ? "number_drew" : "number_now";
    find(".number-line").textContent = text(key, { number: text.fixed(number ?? 0, 4), word: name });
  }

  function drawHundred() {
    if (!choice) return;
    const { after } = choice;
    counts = new Map();
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

  function drawAttention(/** @type {import("../store.js").State} */ state) {
    const { inner, chosen, tab, layer, head } = state;
    if (!inner || chosen === null || tab !== "next") return;
    const weights = attentionRow(state, chosen - 1, layer, head);
    const order = Array.from(weights, (_, at) => at).sort((one, other) => weights[other] - weights[one]).slice(0, ATTENDED);
    find(".attended").replaceChildren(...order.map((at) => {
      const item = make("li"), row = make("div", "bar");
      fillRow(row, nameOfWord(state, text, at), [[weights[at] / weights[order[0]], "weight"]], [text.percent(weights[at])]);
      item.append(row);
      return item;
    }));
  }

  /** @type {[string, "temperature" | "topK" | "topP"][]} */
  const sliders = [["temperature", "temperature"], ["top-k", "topK"], ["top-p", "topP"]];
  for (const [name, key] of sliders) {
    find(`.${name}`).addEventListener("input", () => {
      // the text was written with other settings, so that its link must hold its words
      store.set({ settings: { ...store.state.settings, [key]: find(`.${name}`).valueAsNumber }, edited: true });
    });
  }
  for (const key of /** @type {("layer" | "head")[]} */ (["layer", "head"])) {
    find(`select.${key}`).addEventListener("change", () => {
      const { value } = find(`select.${key}`);
      store.set({ [key]: value === "" ? null : Number(value) });
    });
  }
  const step = (/** @type {number} */ by) => store.set({ chosen: /** @type {number} */ (store.state.chosen) + by });
  find(".back").addEventListener("click", () => step(-1));
  find(".forward").addEventListener("click", () => step(1));
  find(".close").addEventListener("click", () => {
    const { chosen } = store.state;
    store.set({ chosen: null });
    /** @type {HTMLElement | null} */ (document.querySelector(`.text-card [data-position="${chosen}"]`))?.focus();
  });
  find(".draw-hundred").addEventListener("click", drawHundred);

  store.watch(["settings"], ({ settings }) => {
    for (const [name, key] of sliders) find(`.${name}`).value = settings[key];
    find(".temperature-value").textContent = settings.temperature === 0 ? text("greedy") : text.number(settings.temperature);
    find(".top-k-value").textContent = settings.topK ? text.count(settings.topK) : text("off");
    find(".top-p-value").textContent = settings.topP < 1 ? text.number(settings.topP) : text("off");
  });
  store.watch(["model", "layer", "head"], ({ model, layer, head }) => {
    const options = (/** @type {number} */ count) => /** @type {[string, string][]} */ ([["", text("mean")], ...Array.from({ length: count }, (_, at) => [String(at), String(at)])]);
    fillSelect(find("select.layer"), options(model?.config.layers ?? 0), layer === null ? "" : String(layer));
    fillSelect(find("select.head"), options(model?.config.heads ?? 0), head === null ? "" : String(head));
  });
  store.watch(["inner", "chosen", "settings", "tab"], redraw);
  store.watch(["inner", "chosen", "layer", "head", "tab"], drawAttention);
}

/**
 * @param {import("../store.js").State} state
 * @param {number} position
 * @returns {Choice}
 */
function choose(state, position) {
  const { settings, model, ids } = state, suppress = model?.generation.suppress;
  const logits = logitsBefore(state, position);
  const after = distribution(logits, { ...settings, suppress });
  const plain = distribution(logits, { suppress });
  // any temperature keeps the order of the words
  return { after, before: plain.before, own: after.ids.indexOf(ids[position]) };
}

/**
 * @param {import("../../sampling.js").Distribution} distribution
 * @param {number} rank
 * @returns {number} the probability that a rank is drawn, 0 if it is cut
 */
function probabilityOf({ cumulative, kept }, rank) {
  return rank >= kept ? 0 : cumulative[rank] - (rank ? cumulative[rank - 1] : 0);
}

/**
 * @param {HTMLElement} row
 * @param {string} name
 * @param {[number, string][]} bars length and class of each
 * @param {string[]} figures
 */
function fillRow(row, name, bars, figures) {
  const both = make("span", "both");
  both.append(...bars.map(([length, kind]) => makeBar(length, kind)));
  row.append(make("span", "bar-word", name), both, ...figures.map((figure) => make("span", "figure", figure)));
}
