/** The words as the page shows them: with capitals, and marks for the start and the end. */
import { withCapitals } from "./casing.js";
import { nameOfWord } from "./names.js";
import { headerLength } from "./template.js";

/** @param {string} bare */
export const isMark = (bare) => bare === "▸" || bare === "∎";

/**
 * @param {import("./store.js").State} state
 * @param {import("./i18n.js").Text} text
 * @returns {{bare: string[], header: number}} words without spaces, and how many are in the header
 */
export function shownWords(state, text) {
  const { words, ids, given, model, template, vocabulary, raw } = state;
  if (raw) return { bare: words.map(({ label }, at) => (isStart(state, at) ? "▸" : label || `#${ids[at]}`)), header: 0 };
  const first = words.length && isStart(state, 0) ? 1 : 0;
  const pieces = words.map((word) => word.text);
  const header = vocabulary?.wordLevel ? headerLength(template, pieces.slice(first)) : 0;
  const capitals = vocabulary?.wordLevel ? [...pieces.slice(0, first), ...withCapitals(pieces.slice(first), header)] : pieces;
  // what the visitor typed stays as typed
  const shown = capitals.map((word, at) => (at >= header + first && at < given ? pieces[at] : word));
  const bare = shown.map((word, at) => {
    if (isStart(state, at)) return "▸";
    if (model?.generation.ends.includes(ids[at])) return "∎";
    return at < header + first && word.trim() === ":" ? "·" : word.trim() || nameOfWord(state, text, at);
  });
  return { bare, header: header ? header + first : 0 };
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
  const { bare } = shownWords(state, text);
  if (state.raw) return bare.filter((word) => !isMark(word)).join(" ");
  const spaced = state.words.map(({ text: piece }, at) => {
    const typed = piece.trim();
    return isMark(bare[at]) ? "" : typed ? piece.replace(typed, () => bare[at].replace("·", ":")) : piece;
  });
  return spaced.join("").trim();
}
