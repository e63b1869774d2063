/** The text: its words, what they are colored by, and the buttons that change it. */
import { longestSpan } from "../copy_check.js";
import { copy, finder, make, showTips } from "../dom.js";
import { attentionRow, meanSurprise, surprisesOf } from "../inner_values.js";
import { nameOfWord } from "../names.js";
import { isComputed } from "../store.js";
import { headerOf, isMark, plainText, shownWords } from "../shown_words.js";
import { drawAgain, nextWord, stop, writeOn } from "../writing.js";

/**
 * @typedef {import("../store.js").State} State
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../i18n.js").Text} Text
 */

/** Views in which the words' shades are the attention of the chosen step. */
const SHOW_ATTENTION = new Set(["next", "heads", "scores"]);
/** Nats at which the shade of a surprise is darkest. */
const DARKEST = 8;

/**
 * @param {HTMLElement} element
 * @param {Store} store
 * @param {Text} text
 * @param {{address: () => string}} actions
 */
export function mount(element, store, text, { address }) {
  mountWords(element, store, text);
  mountShades(element, store, text);
  mountCopies(element, store, text);
  mountStatus(element, store, text);
  chooseByPointerAndKeys(element, store);
  mountTools(element, store, text, address);
  showTips(element, (position) => tipOf(store.state, text, position));
}

/** @returns {HTMLElement[]} the drawn words, by position */
const spansOf = (/** @type {HTMLElement} */ element) => [.../** @type {NodeListOf<HTMLElement>} */ (element.querySelectorAll(".word"))];

/** @returns {boolean} whether a word is hidden, so that the visitor guesses it */
const isHidden = (/** @type {State} */ { hiddenFrom }, /** @type {number} */ at) => hiddenFrom !== null && at >= hiddenFrom;

/**
 * Draw the words, those of the header above the others.
 * @param {HTMLElement} element
 * @param {Store} store
 * @param {Text} text
 */
function mountWords(element, store, text) {
  const find = finder(element), box = find(".words"), eyebrow = find(".eyebrow");
  /** @type {string[]} what was drawn of each word */ let drawn = [];

  store.watch(["words", "given", "raw", "hiddenFrom"], (state) => {
    // the model sees one text, whose header stands with the other words
    const bare = shownWords(state, text), header = state.raw ? 0 : headerOf(state);
    const kinds = state.words.map(({ known }, at) => `${at < header} ${at < state.given} ${known} ${bare[at]} ${isHidden(state, at)}`);
    let same = 0;
    while (same < Math.min(kinds.length, drawn.length) && kinds[same] === drawn[same]) same++;
    // while a text is written, only its new words are drawn
    if (same < drawn.length || !same) {
      same = 0;
      box.replaceChildren();
      eyebrow.replaceChildren();
    }
    for (let at = same; at < kinds.length; at++) {
      const breaks = at >= header && state.words[at].text.includes("\n");
      addWord(at < header ? eyebrow : box, makeWord(state, text, at, bare[at]), spaceBefore(state, at, bare[at]), breaks);
    }
    drawn = kinds;
    if (!kinds.length) box.replaceChildren(make("span", "quiet", text("empty")));
    eyebrow.hidden = !header;
    const first = Math.min(state.given, kinds.length - 1);
    spansOf(element).forEach((span, at) => { span.tabIndex = at === (state.chosen ?? first) && at > 0 ? 0 : -1; });
  });
}

/**
 * @param {State} state
 * @param {Text} text
 * @param {number} at position of the word
 * @param {string} bare the word without spaces
 * @returns {HTMLElement}
 */
function makeWord(state, text, at, bare) {
  const { words, given, writing } = state, hidden = isHidden(state, at), isButton = at > 0 && !hidden;
  const word = make(isButton ? "button" : "span", "word", hidden ? (at === state.hiddenFrom ? "?" : "") : bare);
  word.dataset.position = at;
  if (isButton) word.type = "button";
  if (isButton && isMark(bare)) word.setAttribute("aria-label", nameOfWord(state, text, at));
  word.classList.toggle("given", at < given);
  word.classList.toggle("mark", isMark(bare));
  word.classList.toggle("unknown", !words[at].known);
  word.classList.toggle("new", writing !== null && at >= given);
  return word;
}

/**
 * @typedef {"apart" | "break" | "spaced" | "joined"} Space whether a word may begin a line, after a space or without one,
 *   only follows a space, or follows the last word
 */

/** @returns {Space} */
function spaceBefore(/** @type {State} */ { raw, words }, /** @type {number} */ at, /** @type {string} */ bare) {
  if (bare === "·" || bare === "∎") return "spaced";
  // a token that is a space shows it itself
  if (!raw && !isMark(bare) && words[at].text && !words[at].text.trim()) return "break";
  return raw || isMark(bare) || /^\s/.test(words[at].text) ? "apart" : "joined";
}

/**
 * @param {HTMLElement} parent
 * @param {HTMLElement} word
 * @param {Space} space
 * @param {boolean} breaks whether a line break comes before it
 */
function addWord(parent, word, space, breaks) {
  const last = parent.lastElementChild;
  if (breaks) parent.append(make("br"));
  if (last && !breaks && (space === "spaced" || space === "joined")) {
    // a comma stays on the line of the word before it
    last.append(space === "spaced" ? " " : "", word);
    return;
  }
  const unbroken = make("span", "unbroken");
  unbroken.append(word);
  if (last) parent.append(space === "break" ? make("wbr") : " ");
  parent.append(unbroken);
}

/**
 * Color the words by surprise or attention, and mark the chosen one.
 * @param {HTMLElement} element
 * @param {Store} store
 * @param {Text} text
 */
function mountShades(element, store, text) {
  const find = finder(element), legend = find(".surprise-legend");

  store.watch(["words", "chosen", "tab", "inner", "surprise", "layer", "head", "raw", "hiddenFrom"], (state) => {
    const { chosen, given } = state, nats = state.surprise && isComputed(state) ? surprisesOf(state) : null;
    const shade = shadesOf(state);
    spansOf(element).forEach((span, at) => {
      span.style.setProperty("--strength", String(isHidden(state, at) ? 0 : shade(at)));
      span.classList.toggle("chosen", at === chosen);
      span.classList.toggle("later", chosen !== null && !nats && at > chosen);
      if (at === chosen) span.setAttribute("aria-current", "true");
      else span.removeAttribute("aria-current");
      if (chosen !== null) span.tabIndex = at === chosen ? 0 : -1;
    });
    legend.hidden = !nats;
    if (!nats) return;
    const mean = meanSurprise(nats, given);
    legend.textContent = text("surprise_legend", { mean: text.fixed(mean), perplexity: text.number(Math.exp(mean)) });
  });
  store.watch(["surprise"], ({ surprise }) => { find(".surprise").checked = surprise; });
}

/**
 * @param {State} state
 * @returns {(at: number) => number} the shade of each word, 0 to 1
 */
function shadesOf(state) {
  const { surprise, chosen, tab, layer, head } = state;
  if (!isComputed(state)) return () => 0;
  if (surprise) {
    const nats = surprisesOf(state);
    return (at) => (at ? Math.min(nats[at - 1] / DARKEST, 1) : 0);
  }
  if (chosen === null || !SHOW_ATTENTION.has(tab)) return () => 0;
  const weights = attentionRow(state, chosen - 1, layer, head), highest = Math.max(...weights);
  return (at) => (at < weights.length ? weights[at] / highest : 0);
}

/**
 * @param {State} state
 * @param {Text} text
 * @param {number} position
 * @returns {string} what a word's tip says, "" for no tip
 */
function tipOf(state, text, position) {
  const { words, chosen, surprise, tab, layer, head, ids, raw } = state;
  if (position >= words.length || isHidden(state, position)) return "";
  if (!words[position].known) return text("unknown");
  const name = nameOfWord(state, text, position);
  if (surprise && isComputed(state) && position) {
    const nats = surprisesOf(state)[position - 1];
    return `${name}: ${text("nats", { nats: text.fixed(nats) })} · ${text.percent(Math.exp(-nats))}`;
  }
  if (chosen !== null && isComputed(state) && position < chosen && SHOW_ATTENTION.has(tab)) {
    return `${name}: ${text("of_attention", { weight: text.percent(attentionRow(state, chosen - 1, layer, head)[position]) })}`;
  }
  if (raw) return `${words[position].label}: ${text("id", { id: ids[position] })}`;
  return words[position].text.trim() ? "" : name;
}

/**
 * Underline what the model copied from its training texts, and say it.
 * @param {HTMLElement} element
 * @param {Store} store
 * @param {Text} text
 */
function mountCopies(element, store, text) {
  const find = finder(element);

  store.watch(["words", "writing", "copyIndex", "raw", "hiddenFrom"], (state) => {
    const { writing, words, given, ids, model, vocabulary } = state, from = Math.max(given, headerOf(state));
    const last = model?.generation.ends.includes(ids.at(-1) ?? -1) ? ids.length - 1 : ids.length;
    const positions = wordsBetween(words, from, last), count = positions.length;
    // the index has spans of words, so it is for tokens that are words
    const copyIndex = vocabulary?.unit === "word" ? state.copyIndex : null;
    // only what the model wrote: a visitor may type a training text
    const found = copyIndex && !writing && count > 0 ? longestSpan(copyIndex, positions.map((at) => words[at].label)) : null;
    const [start, end] = found ? [positions[found.start], positions[found.start + found.length - 1] + 1] : [0, 0];
    spansOf(element).forEach((span, at) => span.classList.toggle("copied", at >= start && at < end));
    find(".copies").hidden = !copyIndex || writing !== null || count < 1 || state.hiddenFrom !== null;
    if (!copyIndex) return;
    const figures = { reviews: text.count(copyIndex.reviews), n: copyIndex.n, sure: 2 * copyIndex.n - 1 };
    const copied = { ...figures, length: found?.length ?? 0, words: count, margin: copyIndex.n - 1 };
    find(".copies-found").textContent = found ? text("copies_some", copied) : text("copies_none", figures);
    find(".copies-info").textContent = text("copies_info", figures);
  });
}

/** @returns {number[]} positions of the words from one position to another, without line breaks, which the index leaves out */
function wordsBetween(/** @type {import("../store.js").Word[]} */ words, /** @type {number} */ from, /** @type {number} */ to) {
  return words.slice(from, to).flatMap(({ label }, at) => (label === "\n" ? [] : [from + at]));
}

/**
 * Say what was written and why the text ends, and enable the buttons that can be used.
 * @param {HTMLElement} element
 * @param {Store} store
 * @param {Text} text
 */
function mountStatus(element, store, text) {
  const find = finder(element);

  store.watch(["words", "writing", "reason", "given", "model", "hiddenFrom", "switchedOff"], (state) => {
    const { writing, words, ids, given, reason, model, hiddenFrom, switchedOff } = state;
    element.dataset.state = writing ? "writing" : "written";
    const isOver = reason === "end" || (model !== null && ids.length >= model.config.positions);
    /** @type {Record<string, boolean>} */
    const isUseless = { "next-word": isOver, "draw-again": ids.length <= given, "write-on": isOver || !words.length };
    for (const name in isUseless) find(`.${name}`).disabled = !model || isUseless[name] || hiddenFrom !== null;
    for (const name of ["copy", "link"]) find(`.${name}`).disabled = !words.length || hiddenFrom !== null;
    find(".stop").hidden = !writing;
    find(".status").textContent = words.length && hiddenFrom === null ? statusOf(state, text) : "";
    const unknown = [...new Set(words.filter(({ known }) => !known).map((word) => word.text.trim()))];
    find(".unknown-note").textContent = unknown.length ? text("unknown_note", { words: unknown.join(" ") }) : "";
    find(".off-note").textContent = switchedOff.length ? text("off_note", { count: switchedOff.length }) : "";
  });
}

/** @returns {string} */
function statusOf(/** @type {State} */ { writing, reason, ids, given }, /** @type {Text} */ text) {
  if (writing) return text("writing");
  // the mark of the end is no word
  const words = ids.length - given - (reason === "end" && ids.length > given ? 1 : 0);
  const key = reason === "stopped" ? "stopped" : reason === "length" ? "written_cut" : "written";
  return `${text(key, { count: text.count(words) })} ${text("hint")}`;
}

/**
 * Choose the word to look into: by a click, or with the arrow keys, Home and End; Shift only moves the focus.
 * @param {HTMLElement} element
 * @param {Store} store
 */
function chooseByPointerAndKeys(element, store) {
  const wordAt = (/** @type {Event} */ event) => /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (event.target).closest(".word"));

  function choose(/** @type {number} */ position) {
    const { words, writing } = store.state;
    if (!writing && position >= 1 && position < words.length && !isHidden(store.state, position)) store.set({ chosen: position });
  }

  element.addEventListener("click", (event) => {
    const word = wordAt(event);
    if (word instanceof HTMLButtonElement) choose(Number(word.dataset.position));
  });
  element.addEventListener("keydown", (event) => {
    const word = wordAt(event);
    if (!word || event.ctrlKey || event.metaKey || event.altKey) return;
    const here = Number(word.dataset.position), spans = spansOf(element);
    const there = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: store.state.given, End: spans.length - 1 }[event.key];
    if (event.key === "Escape") store.set({ chosen: null });
    if (there === undefined || !spans[there]) return;
    event.preventDefault();
    if (!event.shiftKey) choose(there);
    spans[there].focus();
  });
}

/**
 * @param {HTMLElement} element
 * @param {Store} store
 * @param {Text} text
 * @param {() => string} address
 */
function mountTools(element, store, text, address) {
  const find = finder(element);

  async function copyFrom(/** @type {string} */ name, /** @type {string} */ content) {
    await copy(content);
    find(`.${name}`).textContent = text("copied");
    setTimeout(() => { find(`.${name}`).textContent = text(name); }, 1500);
  }

  /** @type {Record<string, (store: Store) => void>} */
  const actions = { "next-word": nextWord, "draw-again": drawAgain, "write-on": (each) => writeOn(each), stop };
  for (const name in actions) find(`.${name}`).addEventListener("click", () => actions[name](store));
  find(".surprise").addEventListener("change", () => store.set({ surprise: find(".surprise").checked }));
  find(".raw").addEventListener("change", () => store.set({ raw: find(".raw").checked }));
  find(".copy").addEventListener("click", () => copyFrom("copy", plainText(store.state, text)));
  find(".link").addEventListener("click", () => copyFrom("link", address()));
  store.watch(["raw"], ({ raw }) => {
    find(".raw").checked = raw;
    element.classList.toggle("as-is", raw);
  });
}
