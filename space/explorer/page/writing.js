/** Write the text: all of it, one word at a time, or with a word that the visitor takes. */
import { uniformNumbers } from "../sampling.js";
import { printedPrompt } from "./prompt.js";
import { isLoaded } from "./store.js";

/**
 * @typedef {import("./store.js").Store} Store
 * @typedef {import("./store.js").Word} Word
 */

/** @returns {number} */
export const randomSeed = () => crypto.getRandomValues(new Uint32Array(1))[0];

/**
 * Write a text after the prompt, with the seed that was typed or linked, else with a new one.
 * @param {Store} store
 */
export async function write(store) {
  if (!(await begin(store))) return;
  const { settings, seedIsGiven } = store.state;
  const seed = seedIsGiven ? settings.seed : randomSeed();
  store.set({ settings: { ...settings, seed }, seedIsGiven: false });
  await extend(store, { seed, skip: 0, most: settings.length });
}

/**
 * Write more words after the text.
 * @param {Store} store
 * @param {number} [most]
 * @returns {Promise<boolean>} whether they were written and neither stopped nor replaced by another text
 */
export async function writeOn(store, most = Infinity) {
  if (store.state.begun !== store.state.prompt && !(await begin(store))) return false;
  const { ids, given, settings } = store.state;
  store.set({ seedIsGiven: false });
  return extend(store, { seed: settings.seed, skip: ids.length - given, most: Math.min(most, Math.max(settings.length - ids.length + given, 1)) });
}

/**
 * Write one word and look into it.
 * @param {Store} store
 */
export async function nextWord(store) {
  if (!(await writeOn(store, 1))) return;
  const { reason, ids, given } = store.state;
  store.set({ edited: true, reason: reason === "end" ? reason : null, ...(ids.length > given ? { chosen: ids.length - 1 } : {}) });
}

/**
 * Draw the last word again, with a new number.
 * @param {Store} store
 */
export async function drawAgain(store) {
  const { ids, given } = store.state;
  if (ids.length <= given) return;
  stop(store);
  const last = ids.length - 1;
  cut(store, last);
  const isWritten = await extend(store, { seed: randomSeed(), skip: 0, most: 1 });
  if (isWritten) store.set({ chosen: last, reason: store.state.reason === "end" ? "end" : null });
}

/**
 * Put another word at a position and drop the words after it.
 * @param {Store} store
 * @param {number} position
 * @param {number} id
 */
export async function take(store, position, id) {
  stop(store);
  cut(store, position);
  await append(store, [{ id, draw: null, taken: true }]);
  const ends = store.state.model?.generation.ends.includes(id);
  store.set({ chosen: position, reason: ends ? "end" : null });
}

/** @param {Store} store */
export function stop(store) {
  const { writing } = store.state;
  if (!writing) return;
  writing.abort();
  store.set({ writing: null, reason: "stopped" });
}

/**
 * Put a linked text back.
 * @param {Store} store
 * @param {number[]} written ids after the prompt
 */
export async function restore(store, written) {
  if (!(await begin(store))) return;
  const { model, ids, seedIsGiven } = store.state;
  if (!model) return;
  const { vocabSize, positions } = model.config;
  const sound = written.filter((id) => id < vocabSize).slice(0, positions - ids.length), controller = new AbortController();
  store.set({ writing: controller });
  await append(store, sound.map((id) => ({ id, draw: null, linked: !seedIsGiven })), () => store.state.writing === controller);
  if (store.state.writing !== controller) return;
  store.set({ writing: null, edited: true, reason: model.generation.ends.includes(sound.at(-1) ?? -1) ? "end" : null });
}

/**
 * The number that drew a word: the seed's for its place, unless it was drawn again.
 * @param {import("./store.js").State} state
 * @param {number} position
 * @returns {number | null} null for a word of the prompt, of a link without a seed, and for greedy decoding
 */
export function numberOf({ words, draws, given, settings }, position) {
  if (position < given || words[position].linked) return null;
  const step = draws[position];
  if (step) return step.u;
  const uniform = uniformNumbers(settings.seed);
  for (let i = given; i < position; i++) uniform();
  return uniform();
}

/**
 * Begin a text with the prompt.
 * @param {Store} store
 * @returns {Promise<boolean>} false if the prompt is refused, which `problem` says
 */
async function begin(store) {
  stop(store);
  const { state } = store;
  if (!isLoaded(state)) return false;
  const { model, vocabulary, prompt } = state;
  try {
    const { ids, words } = await promptOf(vocabulary, model.generation.bos, prompt);
    // the model checks the ids' range and number
    await model.next(ids);
    store.set({
      ids, words, given: ids.length, draws: ids.map(() => null), begun: prompt, edited: false, chosen: null, reason: null, problem: "", hiddenFrom: null,
    });
    return true;
  } catch (error) {
    // a model that was replaced meanwhile is closed, which is no problem of the new one
    if (store.state.model === model) store.set({ problem: /** @type {Error} */ (error) });
    return false;
  }
}

/**
 * @param {import("./store.js").Vocabulary} vocabulary
 * @param {number | null} bos begins a text without a token
 * @param {string} prompt
 * @returns {Promise<{ids: number[], words: Word[]}>}
 */
export async function promptOf(vocabulary, bos, prompt) {
  const read = await printedPrompt(vocabulary, prompt);
  let ids = await vocabulary.encode(read);
  if (!ids.length && bos !== null) ids = [bos];
  const split = await vocabulary.split(read), labels = await vocabulary.labels(ids);
  // tokens before the typed words are special ones, such as [BOS]
  const first = ids.length - split.length;
  const typed = split.every(({ id }, at) => ids[first + at] === id);
  const pieces = typed ? [] : await vocabulary.pieces(ids);
  const word = (/** @type {number} */ at) => {
    if (!typed) return { text: pieces[at], known: true };
    return at < first ? { text: "", known: true } : { text: split[at - first].text, known: split[at - first].known };
  };
  return { ids, words: labels.map((/** @type {string} */ label, /** @type {number} */ at) => ({ ...word(at), label })) };
}

/**
 * @param {Store} store
 * @param {{seed: number, skip: number, most: number}} options
 * @returns {Promise<boolean>} whether the words were written and neither stopped nor replaced by another text
 */
async function extend(store, { seed, skip, most }) {
  const { model, settings, switchedOff, ids } = store.state;
  if (!model) return false;
  const controller = new AbortController();
  const isCurrent = () => store.state.writing === controller;
  store.state.writing?.abort();
  store.set({ writing: controller, reason: null, problem: "" });
  /** @type {import("../gpt2.js").Step[]} */ let waiting = [];
  let drawn = Promise.resolve(), isDrawing = false;
  const drain = async () => {
    for (isDrawing = true; waiting.length && isCurrent(); ) {
      const steps = waiting;
      waiting = [];
      await append(store, steps.map((draw) => ({ id: draw.id, draw })), isCurrent);
    }
    isDrawing = false;
  };
  try {
    const options = { ...settings, seed, skip, maxNewTokens: most, switchedOff, signal: controller.signal };
    const { reason } = await model.generate(ids, options, (step) => {
      waiting.push(step);
      if (!isDrawing) drawn = drain();
    });
    await drawn;
    if (!isCurrent()) return false;
    store.set({ writing: null, reason });
    return true;
  } catch (error) {
    if (isCurrent()) store.set({ writing: null, problem: /** @type {Error} */ (error) });
    return false;
  }
}

/**
 * @param {Store} store
 * @param {{id: number, draw: import("../gpt2.js").Step | null, taken?: boolean, linked?: boolean}[]} added
 * @param {() => boolean} [isCurrent] whether the text is still wanted
 */
async function append(store, added, isCurrent = () => true) {
  const { vocabulary, ids: before, words } = store.state;
  if (!vocabulary) return;
  const ids = [...before, ...added.map(({ id }) => id)];
  const written = await writtenWords(vocabulary, words, ids);
  if (!isCurrent() || store.state.ids !== before) return;
  const marked = written.map((word, at) => ({ ...word, taken: added[at].taken, linked: added[at].linked }));
  store.set({ ids, words: [...words, ...marked], draws: [...store.state.draws, ...added.map(({ draw }) => draw)] });
}

/**
 * @param {import("./store.js").Vocabulary} vocabulary
 * @param {Word[]} words of the first ids
 * @param {number[]} ids
 * @returns {Promise<Word[]>} the words of the other ids, which the model wrote
 */
export async function writtenWords(vocabulary, words, ids) {
  const from = words.length, labels = await vocabulary.labels(ids.slice(from)), pieces = await vocabulary.pieces(ids, from);
  // unknown words are missing in the decoded text, and with them the space after them
  if (words.at(-1)?.known === false && /^[\p{L}\p{N}]/u.test(pieces[0] ?? "")) pieces[0] = ` ${pieces[0]}`;
  return pieces.map((text, at) => ({ text, label: labels[at], known: true }));
}

/**
 * @param {Store} store
 * @param {number} length
 */
function cut(store, length) {
  const { ids, words, draws } = store.state;
  store.set({ ids: ids.slice(0, length), words: words.slice(0, length), draws: draws.slice(0, length), edited: true, reason: null });
}
