/** The words as the page shows them: with capitals, and marks for the start and the end. */
import { withCapitals } from "./casing.js";
import { nameOfWord } from "./names.js";
import { headerLength } from "./template.js";

/** @param {string} bare */
export const isMark = (bare) => bare === "▸" || bare === "∎";

/**
 * @param {import("./store.js").State} state
 * @returns {number} how many words, with the start token, come before the running text; 0 if the text has no header
 */
export function headerOf(state) {
  const { words, template, vocabulary } = state;
  if (vocabulary?.unit !== "word") return 0;
  const first = words.length && isStart(state, 0) ? 1 : 0;
  const header = headerLength(template, words.slice(first).map((word) => word.text));
  return header && header + first;
}

/**
 * @param {import("./store.js").State} state
 * @param {import("./i18n.js").Text} text
 * @returns {string[]} the words without spaces
 */
export function shownWords(state, text) {
  const { words, ids, given, model, vocabulary, raw } = state;
  if (raw) return words.map(({ label }, at) => (isStart(state, at) ? "▸" : label || `#${ids[at]}`));
  const header = headerOf(state), pieces = words.map((word) => word.text);
  const capitals = vocabulary?.unit === "word" ? withCapitals(pieces, header) : pieces;
  // what the visitor typed stays as typed
  const shown = capitals.map((word, at) => (at >= header && at < given ? pieces[at] : word));
  return shown.map((word, at) => {
    if (isStart(state, at)) return "▸";
    if (model?.generation.ends.includes(ids[at])) return "∎";
    return at < header && word.trim() === ":" ? "·" : word.trim() || nameOfWord(state, text, at);
  });
}

/** @returns {boolean} whether a token is the start token */
function isStart(/** @type {import("./store.js").State} */ { words, ids, model }, /** @type {number} */ at) {
  return at === 0 && !words[0].text && ids[0] === model?.generation.bos;
}

/**
 * @param {import("./store.js").State} state
 * @param {import("./i18n.js").Text} text
 * @returns {string} the text with its spaces, for the clipboard
 */
export function plainText(state, text) {
  const bare = shownWords(state, text);
  if (state.raw) return bare.filter((word) => !isMark(word)).join(" ");
  const spaced = state.words.map(({ text: piece }, at) => {
    const typed = piece.trim();
    if (isMark(bare[at])) return "";
    // the colons of the header are shown as dots
    return typed && bare[at] !== "·" ? piece.replace(typed, () => bare[at]) : piece;
  });
  return spaced.join("").trim();
}
