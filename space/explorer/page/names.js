/** What the page calls a token outside the text. */
import { readable } from "../byte_level.js";

/**
 * @param {Pick<import("./store.js").State, "model" | "vocabulary">} state
 * @param {import("./i18n.js").Text} text
 * @param {number} id
 * @param {string} label as the vocabulary has it
 * @returns {string}
 */
export function nameOfToken({ model, vocabulary }, text, id, label) {
  if (model?.generation.ends.includes(id)) return text("end");
  const shown = (vocabulary?.unit === "token" ? readable(label) : label).replaceAll("\n", "⏎");
  return shown.trim() || (shown ? "␣" : `#${id}`);
}

/**
 * @param {import("./store.js").State} state
 * @param {import("./i18n.js").Text} text
 * @param {number} position
 * @returns {string} the name of a word of the text
 */
export function nameOfWord(state, text, position) {
  const { text: piece, label, known } = state.words[position];
  if (position === 0 && !piece.trim()) return text("start");
  return known ? nameOfToken(state, text, state.ids[position], label) : piece.trim();
}
