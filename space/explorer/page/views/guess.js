/** Guess first: the next word is hidden, the visitor picks among five, and both are scored in nats. */
import { distribution } from "../../sampling.js";
import { fillRow, finder, make, makeButton, makeItem } from "../dom.js";
import { logitsBefore } from "../inner_values.js";
import { nameOfToken } from "../names.js";
import { headerOf } from "../shown_words.js";
import { isComputed } from "../store.js";

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
 * @typedef {object} Score of one guess, in nats
 * @property {number} own the visitor's
 * @property {number} model
 * @property {boolean} right
 */

/**
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../i18n.js").Text} Text
 * @typedef {ReturnType<typeof finder>} Find
 */

/**
 * @param {HTMLElement} element
 * @param {Store} store
 * @param {Text} text
 */
export function mount(element, store, text) {
  const find = finder(element);
  /** @type {Question | null} */ let question = null;
  let scores = /** @type {Score[]} */ ([]);

  async function ask(/** @type {number} */ position) {
    const { state } = store, { inner, ids } = state;
    if (!isComputed(state) || position >= ids.length) return finish();
    store.set({ hiddenFrom: position, chosen: null });
    const asked = await questionAt(state, text, position);
    if (store.state.inner !== inner || store.state.hiddenFrom !== position) return;
    question = asked;
    redraw();
    find(".choice")?.focus();
  }

  function pick(/** @type {number} */ index) {
    if (!question || question.picked !== null) return;
    question.picked = index;
    scores.push(scoreOf(question, store.state.ids[question.position], Number(find(".confidence").value)));
    store.set({ hiddenFrom: question.position + 1 });
    redraw();
    find(".next-guess").focus();
  }

  function finish() {
    question = null;
    store.set({ hiddenFrom: null });
    redraw();
  }

  function redraw() {
    const { state } = store;
    drawState(find, state, question, scores);
    if (state.tab !== "guess") return;
    drawScores(find, text, scores);
    if (question) drawQuestion(find, text, question, state.ids[question.position], scores.at(-1), pick);
  }

  find(".start").addEventListener("click", () => {
    scores = [];
    ask(firstGuess(store.state));
  });
  find(".next-guess").addEventListener("click", () => { if (question) ask(question.position + 1); });
  find(".end-guess").addEventListener("click", () => {
    finish();
    find(".start").focus();
  });
  store.watch(["ids"], () => {
    scores = [];
    finish();
  });
  store.watch(["tab"], ({ tab, hiddenFrom }) => {
    if (tab === "guess") redraw();
    else if (hiddenFrom !== null) finish();
  });
  store.watch(["inner"], redraw);
}

/** @returns {number} the position of the first word to guess: the header is too easy, as it has a colon after each field */
function firstGuess(/** @type {import("../store.js").State} */ state) {
  const first = Math.max(state.given, headerOf(state), 1);
  return first < state.ids.length ? first : Math.max(state.given, 1);
}

/**
 * @param {Question} question that was answered
 * @param {number} own id of the text's word
 * @param {number} confidence the visitor's probability for the picked word; the others get the rest in equal parts
 * @returns {Score}
 */
function scoreOf({ ids, probabilities, picked }, own, confidence) {
  const right = ids.indexOf(own), isRight = picked === right;
  const visitors = isRight ? confidence : (1 - confidence) / (ids.length - 1);
  return { own: -Math.log(visitors), model: -Math.log(probabilities[right]), right: isRight };
}

/** Show the parts of the view that the state allows. */
function drawState(/** @type {Find} */ find, /** @type {import("../store.js").State} */ { ids, given, inner }, /** @type {Question | null} */ question, /** @type {Score[]} */ scores) {
  const possible = ids.length > given + 1;
  find(".ask").hidden = possible;
  find(".content").hidden = !possible;
  find(".start").hidden = question !== null;
  find(".start").disabled = !inner;
  find(".question").hidden = question === null;
  find(".scores").hidden = !scores.length;
}

/**
 * @param {Find} find
 * @param {Text} text
 * @param {Question} question
 * @param {number} own id of the text's word
 * @param {Score | undefined} last
 * @param {(index: number) => void} pick
 */
function drawQuestion(find, text, { ids, names, probabilities, picked }, own, last, pick) {
  const right = ids.indexOf(own), highest = Math.max(...probabilities);
  find(".choices").replaceChildren(...ids.map((_, at) => {
    if (picked === null) return makeItem(makeButton("bar choice", names[at], () => pick(at)));
    const row = make("div", "bar"), figures = [text.percent(probabilities[at]), at === picked ? text("your_pick") : ""];
    fillRow(row, names[at], [[probabilities[at] / highest, ""]], figures);
    return makeItem(row, at === right ? "chosen" : "");
  }));
  find(".verdict").textContent = picked === null || !last ? ""
    : text(last.right ? "guessed" : "not_guessed", { word: names[right], own: text.fixed(last.own), model: text.fixed(last.model) });
  find(".next-guess").hidden = picked === null;
  find(".confidence-field").hidden = picked !== null;
}

function drawScores(/** @type {Find} */ find, /** @type {Text} */ text, /** @type {Score[]} */ scores) {
  if (!scores.length) return;
  const mean = (/** @type {"own" | "model"} */ key) => text.fixed(scores.reduce((sum, score) => sum + score[key], 0) / scores.length);
  const right = scores.filter((score) => score.right).length, blind = text.fixed(Math.log(CHOICES));
  find(".scores").textContent = text("guess_scores", { count: scores.length, right, own: mean("own"), model: mean("model"), blind });
}

/**
 * @param {import("../store.js").ComputedState} state
 * @param {import("../i18n.js").Text} text
 * @param {number} position
 * @returns {Promise<Question>} the text's word and the likeliest others, in random order
 */
async function questionAt(state, text, position) {
  const { model, ids, vocabulary } = state, own = ids[position];
  const found = distribution(logitsBefore(state, position), { suppress: model.generation.suppress });
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
