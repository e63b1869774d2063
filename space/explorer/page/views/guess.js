/** Guess first: the next word is hidden, the visitor picks among five, and both are scored in nats. */
import { distribution } from "../../sampling.js";
import { fillRow, finder, make, makeButton, makeItem } from "../dom.js";
import { logitsBefore } from "../inner_values.js";
import { nameOfToken } from "../names.js";
import { shownWords } from "../shown_words.js";

const CHOICES = 5;

/**
 * @typedef {object} Question
 * @property {number} position of the hidden word
 * @property {number[]} ids five words, one of which is the text's
 * @property {string[]} names
 * @property {number[]} probabilities the model's, which sum to 1 over the five
 * @property {number | null} picked index of the visitor's word
 */

/**
 * @param {HTMLElement} element
 * @param {import("../store.js").Store} store
 * @param {import("../i18n.js").Text} text
 */
export function mount(element, store, text) {
  const find = finder(element);
  /** @type {Question | null} */ let question = null;
  let scores = /** @type {{own: number, model: number, right: boolean}[]} */ ([]);

  async function ask(/** @type {number} */ position) {
    const { state } = store, { inner, ids } = state;
    if (!inner || position >= ids.length) return finish();
    store.set({ hiddenFrom: position, chosen: null });
    const asked = await questionAt(state, text, position);
    if (store.state.inner !== inner || store.state.hiddenFrom !== position) return;
    question = asked;
    redraw();
    find(".choice")?.focus();
  }

  function pick(/** @type {number} */ index) {
    if (!question || question.picked !== null) return;
    const { ids, probabilities, position } = question, right = ids.indexOf(store.state.ids[position]);
    const confidence = Number(find(".confidence").value);
    question.picked = index;
    scores.push({ own: -Math.log(index === right ? confidence : (1 - confidence) / (ids.length - 1)), model: -Math.log(probabilities[right]), right: index === right });
    store.set({ hiddenFrom: position + 1 });
    redraw();
    find(".next-guess").focus();
  }

  function finish() {
    question = null;
    store.set({ hiddenFrom: null });
    redraw();
  }

  function redraw() {
    const { ids, given, inner, tab } = store.state, possible = ids.length > given + 1;
    find(".ask").hidden = possible;
    find(".content").hidden = !possible;
    find(".start").hidden = question !== null;
    find(".start").disabled = !inner;
    find(".question").hidden = question === null;
    find(".scores").hidden = !scores.length;
    if (tab !== "guess") return;
    drawScores();
    if (!question) return;
    const { ids: choices, names, probabilities, position, picked } = question, right = choices.indexOf(ids[position]);
    const highest = Math.max(...probabilities);
    find(".choices").replaceChildren(...choices.map((_, at) => {
      if (picked === null) return makeItem(makeButton("bar choice", names[at], () => pick(at)));
      const row = make("div", "bar"), figures = [text.percent(probabilities[at]), at === picked ? text("your_pick") : ""];
      fillRow(row, names[at], [[probabilities[at] / highest, ""]], figures);
      return makeItem(row, at === right ? "chosen" : "");
    }));
    const last = scores.at(-1);
    find(".verdict").textContent = picked === null || !last ? ""
      : text(last.right ? "guessed" : "not_guessed", { word: names[right], own: text.fixed(last.own), model: text.fixed(last.model) });
    find(".next-guess").hidden = picked === null;
    find(".confidence-field").hidden = picked !== null;
  }

  function drawScores() {
    if (!scores.length) return;
    const mean = (/** @type {"own" | "model"} */ key) => scores.reduce((sum, score) => sum + score[key], 0) / scores.length;
    find(".scores").textContent = text("guess_scores", {
      count: scores.length, right: scores.filter(({ right }) => right).length, own: text.fixed(mean("own")), model: text.fixed(mean("model")), blind: text.fixed(Math.log(CHOICES)),
    });
  }

  find(".start").addEventListener("click", () => {
    scores = [];
    // the header is too easy: it has a colon after each field
    const { header } = shownWords(store.state, text), first = Math.max(store.state.given, header, 1);
    ask(first < store.state.ids.length ? first : Math.max(store.state.given, 1));
  });
  find(".next-guess").addEventListener("click", () => { if (question) ask(question.position + 1); });
  find(".end-guess").addEventListener("click", () => {
    finish();
    find(".start").focus();
  });
  store.watch(["ids"], () => {
    question = null;
    scores = [];
    store.set({ hiddenFrom: null });
    redraw();
  });
  store.watch(["tab"], ({ tab, hiddenFrom }) => {
    if (tab === "guess") redraw();
    else if (hiddenFrom !== null) finish();
  });
  store.watch(["inner"], redraw);
}

/**
 * @param {import("../store.js").State} state
 * @param {import("../i18n.js").Text} text
 * @param {number} position
 * @returns {Promise<Question>} the text's word and the likeliest others, in random order
 */
async function questionAt(state, text, position) {
  const { model, ids, vocabulary } = state, own = ids[position];
  const found = distribution(logitsBefore(state, position), { suppress: model?.generation.suppress });
  const others = [...found.ids.subarray(0, CHOICES)].filter((id) => id !== own).slice(0, CHOICES - 1);
  const choices = [own, ...others].map((id) => ({ id, order: Math.random() })).sort((one, other) => one.order - other.order).map(({ id }) => id);
  const probabilities = choices.map((id) => found.before[found.ids.indexOf(id)]), total = probabilities.reduce((sum, each) => sum + each, 0);
  const labels = await vocabulary.labels(choices);
  return {
    position, ids: choices, names: choices.map((id, at) => nameOfToken(state, text, id, labels[at])),
    // a word of probability 0 would be an infinite surprise
    probabilities: probabilities.map((each) => Math.max(each / (total || 1), 1e-6)), picked: null,
  };
}
