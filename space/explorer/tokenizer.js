/**
 * Texts to ids and back, by a model's tokenizer.json.
 *
 * The tokenizers of words and of characters of wine_gpt are here, exactly as wine_gpt/tokenizer makes them, and
 * byte_pair_tokenizer.js has its byte-pair encoding and GPT-2's; other_tokenizer.js loads a library for any other.
 */
import { bytePairTokenizer } from "./byte_pair_tokenizer.js";
import { ModelError } from "./model_error.js";
import { loadOtherTokenizer } from "./other_tokenizer.js";
import { ONE_BREAK, ONE_SPACE, parseAddedTokens, parseDecoder, parsePostProcessor, parseVocabulary, replaceAll, same } from "./tokenizer_json.js";
import { VocabularyTokenizer } from "./vocabulary_tokenizer.js";

const PUNCTUATION = "!-/:-@\\[\\]-`{-~";
const WORD = `[${PUNCTUATION}]|[^${PUNCTUATION} \\t\\n\\x0b\\x0c\\r]+`;
const WORD_OR_BREAK = `\\n|${WORD}`;
const CHARACTER = "[\\s\\S]";

/**
 * @typedef {object} Word a word of a text as typed
 * @property {number} id
 * @property {string} text the characters, with the white space before them
 * @property {boolean} known whether it is in the vocabulary
 */

/**
 * @typedef {object} TextTokenizer
 * @property {"word" | "character" | "token"} unit what a token is; only those of wine_gpt are words or characters
 * @property {(text: string) => number[]} encode the ids, with [BOS] before them if the tokenizer adds it
 * @property {(text: string) => Word[]} split the words of a text as typed, without [BOS]
 * @property {(ids: ArrayLike<number>) => string} decode the text without special tokens
 * @property {(ids: ArrayLike<number>, from?: number) => string[]} pieces what each id from an index on adds to the decoded text; "" for a special token
 * @property {(ids: ArrayLike<number>) => string[]} labels tokens as the vocabulary has them; "" for an id without one
 * @property {(label: string) => number | undefined} idOf the id of a token
 */

/**
 * @param {import("./model_files.js").ModelFiles} files
 * @param {(isBusy: boolean) => void} [onBusy] is called before and after what takes long with a hostile file
 * @returns {Promise<{tokenizer: TextTokenizer | null, problem: string}>} null and one line that says why, if it can't be used
 */
export async function loadTokenizer(files, onBusy = () => {}) {
  try {
    const json = await files.json("tokenizer.json", 50e6);
    if (json === undefined) return { tokenizer: null, problem: `${files.name} has no tokenizer.json` };
    const config = (await files.json("tokenizer_config.json", 10e6)) ?? {};
    return { tokenizer: ownTokenizer(json, config, onBusy) ?? (await loadOtherTokenizer(json, config, onBusy)), problem: "" };
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    return { tokenizer: null, problem: error.message };
  }
}

/**
 * @param {any} json the parsed tokenizer.json
 * @param {any} config the parsed tokenizer_config.json
 * @param {(isBusy: boolean) => void} onBusy
 * @returns {TextTokenizer | undefined} undefined if neither wine_gpt nor GPT-2 has made it
 */
function ownTokenizer(json, config, onBusy) {
  onBusy(true);
  try {
    return wordLevelTokenizer(json) ?? bytePairTokenizer(json, config);
  } finally {
    onBusy(false);
  }
}

/**
 * @param {any} json the parsed tokenizer.json
 * @returns {TextTokenizer | undefined} undefined if wine_gpt has not made it
 */
export function wordLevelTokenizer(json) {
  const characters = json?.pre_tokenizer?.pattern?.Regex === CHARACTER;
  const normalizer = parseNormalizer(json?.normalizer, characters);
  if (!normalizer || json.model?.type !== "WordLevel") return undefined;
  const pattern = characters ? CHARACTER : normalizer.lineBreaks ? WORD_OR_BREAK : WORD;
  const splits = { type: "Split", pattern: { Regex: pattern }, behavior: "Removed", invert: true };
  const join = parseDecoder(json.decoder);
  if (!same(json.pre_tokenizer, splits) || !join) return undefined;
  const vocabulary = parseVocabulary(json.model.vocab);
  const unknown = vocabulary.get(json.model.unk_token), added = parseAddedTokens(json.added_tokens);
  if (unknown === undefined || !added) return undefined;
  const first = parsePostProcessor(json.post_processor, vocabulary);
  if (!first) return undefined;
  return new WordLevelTokenizer({ vocabulary, unknown, added, first, join, pattern, characters, ...normalizer });
}

/**
 * @typedef {object} OwnParts of a word-level tokenizer, from its tokenizer.json
 * @property {number} unknown id of every word that the vocabulary lacks
 * @property {(words: string[]) => string} join joins words or characters
 * @property {string} pattern of one word
 * @property {boolean} characters whether a token is a character, not a word
 * @property {boolean} lineBreaks whether a line break is kept
 */

/** @typedef {import("./vocabulary_tokenizer.js").VocabularyParts & OwnParts} Parts */

/** @implements {TextTokenizer} */
class WordLevelTokenizer extends VocabularyTokenizer {
  #parts;

  /** @param {Parts} parts */
  constructor(parts) {
    super(parts);
    this.#parts = parts;
    this.unit = /** @type {"word" | "character"} */ (parts.characters ? "character" : "word");
  }

  /** @param {string} text */
  ids(text) {
    return this.split(text).map(({ id }) => id);
  }

  /**
   * Split a text, also where it spells a special token, as wine_gpt does.
   * @param {string} text
   * @returns {Word[]}
   */
  split(text) {
    const { vocabulary, unknown, characters, lineBreaks, pattern } = this.#parts;
    let typed = text.normalize("NFC");
    if (lineBreaks || characters) typed = replaceAll(typed, lineBreaks ? ONE_BREAK : ONE_SPACE);
    const { lowered, origins } = lower(typed);
    let end = 0;
    return Array.from(lowered.matchAll(new RegExp(pattern, characters ? "gu" : "g")), (match) => {
      const id = vocabulary.get(match[0]), start = end;
      end = origins[match.index + match[0].length];
      return { id: id ?? unknown, text: typed.slice(start, end), known: id !== undefined };
    });
  }

  /** @param {string[]} labels */
  join(labels) {
    return this.#parts.join(labels);
  }
}

/**
 * Lower-case each character by itself, as tokenizers' Lowercase does: Σ at a word's end is σ.
 * @param {string} text
 * @returns {{lowered: string, origins: number[]}} and for each index of it, and its end, the index into the text
 */
function lower(text) {
  let lowered = "", at = 0;
  /** @type {number[]} */ const origins = [];
  for (const character of text) {
    const lower = character.toLowerCase();
    for (let i = 0; i < lower.length; i++) origins.push(at);
    lowered += lower;
    at += character.length;
  }
  origins.push(at);
  return { lowered, origins };
}

/**
 * @param {any} normalizer
 * @param {boolean} characters whether white space is part of the text
 * @returns {{lineBreaks: boolean} | undefined} undefined if wine_gpt has not written it
 */
function parseNormalizer(normalizer, characters) {
  const begin = [{ type: "NFC" }, { type: "Lowercase" }];
  for (const lineBreaks of [true, false]) {
    const normalizers = [...begin, ...(lineBreaks ? [ONE_BREAK] : characters ? [ONE_SPACE] : [])];
    if (same(normalizer, { type: "Sequence", normalizers })) return { lineBreaks };
  }
  return undefined;
}
