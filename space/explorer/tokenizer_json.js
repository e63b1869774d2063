/** What the tokenizers of this folder read of a tokenizer.json. */
import { MOST_IDS } from "./gpt2_config.js";
import { ModelError } from "./model_error.js";

export const ONE_SPACE = { type: "Replace", pattern: { Regex: "[ \\t\\n\\x0b\\x0c\\r]+" }, content: " " };
export const ONE_BREAK = { type: "Replace", pattern: { Regex: "\\r\\n?" }, content: "\n" };

/** JavaScript's notation for parts of tokenizers' regular expressions; its dot matches fewer characters. */
const IN_JAVASCRIPT = new Map([["\\A", "^"], ["\\z", "$"], [".*", "[^\\n]*"]]);

/** @typedef {{id: number, content: string}} AddedToken */

/**
 * @param {string} text
 * @param {typeof ONE_SPACE} step
 * @returns {string} the text after a normalizer's Replace step
 */
export function replaceAll(text, { pattern, content }) {
  return text.replace(new RegExp(pattern.Regex, "g"), content);
}

/**
 * @param {unknown} vocab
 * @returns {Map<string, number>}
 */
export function parseVocabulary(vocab) {
  const words = Object.entries(vocab ?? {});
  const isId = (/** @type {unknown} */ id) => Number.isInteger(id) && /** @type {number} */ (id) >= 0 && /** @type {number} */ (id) < MOST_IDS;
  if (!words.length || !words.every(([, id]) => isId(id))) throw new ModelError("tokenizer.json has no valid vocabulary");
  return new Map(words);
}

/**
 * @param {any} tokens
 * @param {boolean} [normalizes] whether the tokenizer has a normalizer, which a special token must be read before
 * @returns {AddedToken[] | undefined} undefined if they are not special tokens that stand for themselves
 */
export function parseAddedTokens(tokens, normalizes = true) {
  const ours = (/** @type {any} */ token) =>
    Number.isInteger(token?.id) && token.id >= 0 && token.id < MOST_IDS && typeof token.content === "string" &&
    token.content && token.special === true && !token.lstrip && !token.rstrip && !token.single_word && !(normalizes && token.normalized);
  return Array.isArray(tokens) && tokens.length < 1000 && tokens.every(ours) ? tokens : undefined;
}

/**
 * @param {any} decoder
 * @returns {((tokens: string[]) => string) | undefined} joins tokens; undefined if the decoder has other steps than Replace and Fuse
 */
export function parseDecoder(decoder) {
  try {
    const steps = (decoder.type === "Sequence" ? decoder.decoders : [decoder]).map(parseStep);
    return (tokens) => steps.reduce((/** @type {string[]} */ parts, /** @type {Step} */ step) => step(parts), tokens).join("");
  } catch {
    // also a pattern that JavaScript does not read
    return undefined;
  }
}

/** @typedef {(parts: string[]) => string[]} Step */

/**
 * @param {any} step
 * @returns {Step}
 */
function parseStep({ type, pattern, content }) {
  if (type === "Fuse") return (parts) => [parts.join("")];
  if (type !== "Replace") throw new TypeError(`${type} is another step`);
  const regex = pattern.Regex?.replace(/\\[^]|\.\*/g, (/** @type {string} */ part) => IN_JAVASCRIPT.get(part) ?? part);
  const found = regex === undefined ? pattern.String : new RegExp(regex, "g");
  return (parts) => parts.map((part) => part.replaceAll(found, () => content));
}

/**
 * @param {any} processor
 * @param {Map<string, number>} vocabulary with the special tokens
 * @returns {number[] | undefined} the ids before a text; undefined if the processor does more
 */
export function parsePostProcessor(processor, vocabulary) {
  // a byte-level processor changes only where a token begins in the text
  if (processor === null || processor === undefined || processor.type === "ByteLevel") return [];
  const parts = Array.isArray(processor.single) ? processor.single : [], text = parts.at(-1);
  const ids = parts.slice(0, -1).map((/** @type {any} */ part) => vocabulary.get(part?.SpecialToken?.id));
  const ours = processor.type === "TemplateProcessing" && text?.Sequence?.id === "A" && !ids.includes(undefined);
  return ours ? ids : undefined;
}

/**
 * @param {string} text
 * @param {AddedToken[]} added
 * @returns {{content: string, id: number | undefined}[]} the parts of a text between special tokens, and those with their ids
 */
export function splitAtSpecial(text, added) {
  if (!added.length) return [{ content: text, id: undefined }];
  // of two tokens that begin alike the longer one is read
  const longest = [...added].sort((one, other) => other.content.length - one.content.length);
  const escaped = longest.map(({ content }) => content.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  const idOf = new Map(added.map(({ content, id }) => [content, id]));
  return text.split(new RegExp(`(${escaped.join("|")})`)).map((content) => ({ content, id: idOf.get(content) }));
}

/**
 * Compare JSON values, whatever the order of their keys.
 * @param {unknown} one
 * @param {unknown} other
 * @returns {boolean}
 */
export function same(one, other) {
  if (typeof one !== "object" || typeof other !== "object" || !one || !other) return one === other;
  const values = Object.entries(one), others = new Map(Object.entries(other));
  return values.length === others.size && values.every(([key, value]) => others.has(key) && same(value, others.get(key)));
}
