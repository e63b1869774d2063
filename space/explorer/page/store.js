/** The page's state. Views watch the keys that they draw, and actions (writing.js) set them. */
import { NO_TEMPLATE } from "./template.js";

/**
 * @typedef {import("../remote_model.js").RemoteModel} RemoteModel
 * @typedef {import("../remote_model.js").RemoteTokenizer} Vocabulary
 * @typedef {State & {model: RemoteModel, vocabulary: Vocabulary}} LoadedState
 * @typedef {LoadedState & {inner: import("../gpt2.js").Inner}} ComputedState
 */

/**
 * @typedef {object} Word one token of the text
 * @property {string} text what it adds to the text, with the white space before it; "" for a special token
 * @property {string} label the token as the vocabulary has it
 * @property {boolean} known whether the typed word is in the vocabulary
 * @property {boolean} [taken] whether the visitor took it
 * @property {boolean} [linked] whether it came with a link without a seed, so that the number which drew it is not known
 */

/**
 * @typedef {object} Settings
 * @property {number} temperature 0 is greedy decoding
 * @property {number} topK 0 is off
 * @property {number} topP 1 is off
 * @property {number} length largest number of new tokens
 * @property {number} seed
 */

/** @type {Record<keyof Settings, [number, number]>} the least and the largest value of each setting: in links, fields and models' files */
export const BOUNDS = { temperature: [0, 2], topK: [0, 1e6], topP: [0.05, 1], length: [1, 2 ** 20], seed: [0, 2 ** 32 - 1] };

/**
 * @typedef {object} State
 * @property {RemoteModel | null} model
 * @property {Vocabulary | null} vocabulary the model's tokenizer, or id_tokenizer.js's if it has none; null without a model
 * @property {string} name the model as the page calls it
 * @property {import("../model_files.js").Source | null} source
 * @property {import("./template.js").Template} template
 * @property {{loaded: number, total: number} | null} loading
 * @property {string | Error} problem one line for the visitor, or the error that has it; "" if there is none
 * @property {string} prompt what the visitor typed
 * @property {Settings} settings
 * @property {boolean} seedIsGiven whether the seed was typed or linked, so that the next text uses it
 * @property {number[]} ids the text's tokens
 * @property {Word[]} words one for each id
 * @property {number} given how many of the first tokens are the prompt's
 * @property {(import("../gpt2.js").Step | null)[]} draws for each id the draw that chose it; null for the prompt's, taken and linked words
 * @property {string | null} begun the prompt of the text
 * @property {boolean} edited whether the prompt, settings and seed alone do not give the text, so that a link holds its ids
 * @property {AbortController | null} writing not null while a text is written
 * @property {"end" | "length" | "stopped" | null} reason why the text has no more words
 * @property {number | null} chosen position of the word to look into
 * @property {string} tab name of the open view
 * @property {number | null} layer of the shown attention; null is the mean
 * @property {number | null} head
 * @property {boolean} surprise whether the words are colored by their surprise
 * @property {boolean} raw whether the words are shown as the model sees them
 * @property {[number, number][]} switchedOff layer and head of each head that is switched off
 * @property {import("../gpt2.js").Inner | null} inner of `ids`, computed when a view needs it (inner_values.js)
 * @property {import("./copy_check.js").CopyIndex | null} copyIndex of the model's training texts, if it has one
 * @property {number | null} tour the tour's step, from 0
 * @property {number | null} hiddenFrom position of the first word that the text hides, for guessing
 */

/**
 * @param {Settings} settings
 * @returns {Settings} the nearest ones within {@link BOUNDS}
 */
export function bounded(settings) {
  const clamp = (/** @type {keyof Settings} */ name) => Math.min(Math.max(settings[name], BOUNDS[name][0]), BOUNDS[name][1]);
  return { temperature: clamp("temperature"), topK: clamp("topK"), topP: clamp("topP"), length: clamp("length"), seed: clamp("seed") };
}

/** @returns {State} */
export function emptyState() {
  return {
    model: null, vocabulary: null, name: "", source: null, template: NO_TEMPLATE, loading: null, problem: "",
    prompt: "", settings: { temperature: 1, topK: 0, topP: 1, length: 150, seed: 1 }, seedIsGiven: false,
    ids: [], words: [], given: 0, draws: [], begun: null, edited: false, writing: null, reason: null,
    chosen: null, tab: "next", layer: null, head: null, surprise: false, raw: false, switchedOff: [], inner: null, hiddenFrom: null, copyIndex: null, tour: null,
  };
}

/**
 * @param {State} state
 * @returns {state is LoadedState} whether a model is loaded
 */
export function isLoaded(state) {
  return state.model !== null && state.vocabulary !== null;
}

/**
 * @param {State} state
 * @returns {state is ComputedState} whether the inner values of the text are computed, too
 */
export function isComputed(state) {
  return isLoaded(state) && state.inner !== null;
}

export class Store {
  /** @type {{keys: (keyof State)[], draw: (state: State) => void}[]} */ #watchers = [];

  /** @param {State} state */
  constructor(state) {
    this.state = state;
  }

  /** @param {Partial<State>} changes */
  set(changes) {
    const changed = /** @type {(keyof State)[]} */ (Object.keys(changes)).filter((key) => this.state[key] !== changes[key]);
    if (!changed.length) return;
    this.state = { ...this.state, ...changes };
    for (const { keys, draw } of this.#watchers) if (keys.some((key) => changed.includes(key))) draw(this.state);
  }

  /**
   * Call `draw` now and after each change of one of the keys.
   * @param {(keyof State)[]} keys
   * @param {(state: State) => void} draw
   */
  watch(keys, draw) {
    this.#watchers.push({ keys, draw });
    draw(this.state);
  }
}
