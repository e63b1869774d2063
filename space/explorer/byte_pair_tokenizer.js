/** Byte-pair encoding over bytes: wine_gpt's tokenizer of the kind bpe, and GPT-2's own. */
import { byteCharacters, textOfTokens } from "./byte_level.js";
import { ONE_BREAK, ONE_SPACE, parseAddedTokens, parsePostProcessor, parseVocabulary, replaceAll, same, splitAtSpecial } from "./tokenizer_json.js";
import { VocabularyTokenizer } from "./vocabulary_tokenizer.js";

/** GPT-2's words, with the space before them, in each of which pairs are merged. \p{White_Space} is the \s of tokenizers. */
const WORDS = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
/** Settings of a BPE model that must be off. */
const SWITCHES = new Set(["dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges"]);

/** @typedef {import("./tokenizer.js").TextTokenizer} TextTokenizer */

/**
 * @typedef {object} OwnParts
 * @property {Map<string, number>} ranks of each pair "left right", of which the lowest is merged first
 * @property {(text: string) => string} normalize
 * @property {boolean} splitSpecial whether a text that spells a special token is split as any other
 */

/** @typedef {import("./vocabulary_tokenizer.js").VocabularyParts & OwnParts} Parts */

/**
 * @param {any} json the parsed tokenizer.json
 * @param {any} config the parsed tokenizer_config.json
 * @returns {TextTokenizer | undefined} undefined if the tokenizer does anything else
 */
export function bytePairTokenizer(json, config) {
  const { type, vocab, merges, ...rest } = json?.model ?? {}, { add_prefix_space: prefix, use_regex: divides } = json?.pre_tokenizer ?? {};
  const isPlain = Object.entries(rest).every(([name, value]) => SWITCHES.has(name) && !value);
  const isByteLevel = json?.pre_tokenizer?.type === "ByteLevel" && prefix === false && divides !== false && json.decoder?.type === "ByteLevel";
  const normalize = parseNormalizer(json?.normalizer);
  if ((type !== "BPE" && type !== undefined) || !isPlain || !isByteLevel || !normalize) return undefined;
  const vocabulary = parseVocabulary(vocab), ranks = parseMerges(merges, vocabulary);
  const added = parseAddedTokens(json.added_tokens, json.normalizer !== null);
  if (!ranks || !added) return undefined;
  const first = parsePostProcessor(json.post_processor, new Map([...vocabulary, ...added.map(({ content, id }) => /** @type {[string, number]} */ ([content, id]))]));
  // wine_gpt reads a special token in a text as any other word, and only its tokenizers have a normalizer
  const splitSpecial = json.normalizer !== null || config?.split_special_tokens === true;
  return first && new BytePairTokenizer({ vocabulary, ranks, added, first, normalize, splitSpecial });
}

/** @implements {TextTokenizer} */
class BytePairTokenizer extends VocabularyTokenizer {
  #parts;
  /** @type {Map<string, number[]>} the ids of each word that was read */ #cache = new Map();
  unit = /** @type {const} */ ("token");

  /** @param {Parts} parts */
  constructor(parts) {
    super(parts);
    this.#parts = parts;
  }

  /** @param {string} text */
  split(text) {
    const ids = this.ids(text), pieces = this.pieces(ids);
    return ids.map((id, at) => ({ id, text: pieces[at], known: true }));
  }

  /** @param {string[]} labels */
  join(labels) {
    return textOfTokens(labels);
  }

  /** @param {string} text */
  ids(text) {
    const { added, splitSpecial, normalize } = this.#parts;
    return splitAtSpecial(text, splitSpecial ? [] : added).flatMap(({ content, id }) =>
      id !== undefined ? [id] : (normalize(content).match(WORDS) ?? []).flatMap((word) => this.#merge(word)),
    );
  }

  /** @returns {number[]} the ids of a word: the pair with the lowest rank is merged, the first of equal ones, until none is left */
  #merge(/** @type {string} */ word) {
    const found = this.#cache.get(word);
    if (found) return found;
    const { vocabulary, ranks } = this.#parts;
    // a byte that the vocabulary lacks is left out, as by tokenizers
    const tokens = byteCharacters(word).filter((character) => vocabulary.has(character));
    const rankAt = (/** @type {number} */ at) => ranks.get(`${tokens[at]} ${tokens[at + 1]}`) ?? Infinity;
    for (;;) {
      let best = 0;
      for (let at = 1; at + 1 < tokens.length; at++) if (rankAt(at) < rankAt(best)) best = at;
      if (tokens.length < 2 || rankAt(best) === Infinity) break;
      tokens.splice(best, 2, tokens[best] + tokens[best + 1]);
    }
    const ids = tokens.map((token) => /** @type {number} */ (vocabulary.get(token)));
    this.#cache.set(word, ids);
    return ids;
  }
}

/**
 * @param {any} normalizer
 * @returns {((text: string) => string) | undefined} undefined if it is neither wine_gpt's nor none, as GPT-2's
 */
function parseNormalizer(normalizer) {
  if (normalizer === null) return (text) => text;
  const step = [ONE_SPACE, ONE_BREAK].find((each) => same(normalizer, { type: "Sequence", normalizers: [{ type: "NFC" }, each] }));
  return step && ((text) => replaceAll(text.normalize("NFC"), step));
}

/**
 * @param {unknown} merges pairs, or "left right" in old files
 * @param {Map<string, number>} vocabulary
 * @returns {Map<string, number> | undefined} undefined if a merge is no pair, or makes no token of the vocabulary
 */
function parseMerges(merges, vocabulary) {
  if (!Array.isArray(merges)) return undefined;
  /** @type {Map<string, number>} */ const ranks = new Map();
  for (const [rank, merge] of merges.entries()) {
    const pair = Array.isArray(merge) ? merge : String(merge).split(" ");
    if (pair.length !== 2 || !pair.every((token) => typeof token === "string" && token) || !vocabulary.has(pair.join(""))) return undefined;
    ranks.set(pair.join(" "), rank);
  }
  return ranks;
}
