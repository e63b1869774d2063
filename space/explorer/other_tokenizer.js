/**
 * Any tokenizer but wine_gpt's, by @huggingface/tokenizers from a CDN.
 *
 * The version is pinned and its content checked, because the page executes it. Only models that need it load it.
 */
import { ModelError } from "./model_error.js";
import { piecesOf } from "./pieces.js";

export const LIBRARY = "https://cdn.jsdelivr.net/npm/@huggingface/tokenizers@0.2.0/dist/tokenizers.min.mjs";
const INTEGRITY = "sha384-Tl2lMbeE3RCGFLOUGQ7LhvaagysxiOw/9dulz2sD6jxNa1MckRJQBbYdVHhOoqEs";

/** @typedef {import("./tokenizer.js").TextTokenizer} TextTokenizer */

/**
 * @param {any} json the parsed tokenizer.json
 * @param {any} config the parsed tokenizer_config.json
 * @param {(isBusy: boolean) => void} onBusy is called before and after the tokenizer is built
 * @returns {Promise<TextTokenizer>}
 * @throws {ModelError} if the library can't be loaded or does not know the tokenizer
 */
export async function loadOtherTokenizer(json, config, onBusy) {
  const { Tokenizer } = await importLibrary();
  onBusy(true);
  try {
    return new OtherTokenizer(new Tokenizer(json, config));
  } catch {
    throw new ModelError("tokenizer.json is of a kind that @huggingface/tokenizers does not read");
  } finally {
    onBusy(false);
  }
}

/** @returns {Promise<{Tokenizer: any}>} */
async function importLibrary() {
  try {
    const response = await fetch(LIBRARY, { integrity: INTEGRITY, credentials: "omit", referrerPolicy: "no-referrer" });
    // import() checks no integrity, so import the checked bytes
    const address = URL.createObjectURL(new Blob([await response.text()], { type: "text/javascript" }));
    return await import(address);
  } catch {
    throw new ModelError(
      `this model's tokenizer is not wine_gpt's, and the library that reads it can't be loaded from ${new URL(LIBRARY).host}`,
    );
  }
}

/** @implements {TextTokenizer} */
class OtherTokenizer {
  #library;

  /** @param {any} library */
  constructor(library) {
    this.#library = library;
    this.unit = /** @type {const} */ ("token");
  }

  /** @param {string} text */
  encode(text) {
    return Array.from(this.#library.encode(text).ids);
  }

  /** @param {string} text */
  split(text) {
    const ids = Array.from(this.#library.encode(text, { add_special_tokens: false }).ids);
    const pieces = this.pieces(ids);
    return ids.map((id, at) => ({ id, text: pieces[at], known: true }));
  }

  /** @param {ArrayLike<number>} ids */
  decode(ids) {
    // the library refuses to decode nothing
    return ids.length ? this.#library.decode(Array.from(ids), { skip_special_tokens: true }) : "";
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
    return Array.from(ids, (id) => this.#library.id_to_token(id) ?? "");
  }

  /** @param {string} label */
  idOf(label) {
    return this.#library.token_to_id(label);
  }
}
