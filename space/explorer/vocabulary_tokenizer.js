/** What the tokenizers of this folder have in common: a vocabulary, special tokens and the ids before each text. */
import { piecesOf } from "./pieces.js";

/**
 * @typedef {object} VocabularyParts of a tokenizer, from its tokenizer.json
 * @property {Map<string, number>} vocabulary id of each token
 * @property {import("./tokenizer_json.js").AddedToken[]} added the special tokens
 * @property {number[]} first ids before each text
 */

/** @abstract */
export class VocabularyTokenizer {
  #vocabulary;
  #first;
  /** @type {string[]} */ #labels = [];
  /** @type {Set<number>} */ #special;

  /** @param {VocabularyParts} parts */
  constructor({ vocabulary, added, first }) {
    this.#vocabulary = vocabulary;
    this.#first = first;
    for (const [token, id] of vocabulary) this.#labels[id] = token;
    for (const { content, id } of added) this.#labels[id] = content;
    this.#special = new Set(added.map(({ id }) => id));
  }

  /**
   * @abstract
   * @param {string} text
   * @returns {number[]} the ids of a text, without those before it
   */
  ids(text) {
    throw new Error(`no ids of ${text}`);
  }

  /**
   * @abstract
   * @param {string[]} labels of tokens, none of them special
   * @returns {string}
   */
  join(labels) {
    throw new Error(`no text of ${labels}`);
  }

  /** @param {string} text */
  encode(text) {
    return [...this.#first, ...this.ids(text)];
  }

  /** @param {ArrayLike<number>} ids */
  decode(ids) {
    const read = Array.from(ids).filter((id) => !this.#special.has(id) && this.#labels[id] !== undefined);
    return this.join(this.labels(read));
  }

  /**
   * @param {ArrayLike<number>} ids
   * @param {number} [from]
   */
  pieces(ids, from) {
    return piecesOf(this, ids, from);
  }

  /** @param {ArrayLike<number>} ids */
  labels(ids) {
    return Array.from(ids, (id) => this.#labels[id] ?? "");
  }

  /** @param {string} label */
  idOf(label) {
    return this.#vocabulary.get(label);
  }
}
