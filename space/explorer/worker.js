/**
 * The Web Worker that loads and runs a model, so that the page stays responsive. remote_model.js is its other side.
 *
 * A request is `{id, method, args}`, and its answer `{id, result}` or `{id, problem}`. While a request runs, `{id, event}`
 * may come, and `{stop: id}` ends a text. `{tokenizerIsBusy}` comes before and after the tokenizer's work, which the other
 * side limits in time. Arrays are moved, not copied.
 */
import { loadModel } from "./gpt2.js";
import { ModelError, printable } from "./model_error.js";

const TOKENIZER = "tokenizer.";

/** @type {import("./gpt2.js").GPT2 | undefined} */
let model;
/** @type {Map<number, AbortController>} */
const running = new Map();

self.onmessage = async ({ data }) => {
  if (data.stop !== undefined) return running.get(data.stop)?.abort();
  const { id, method, args } = data;
  try {
    const result = await answer(id, method, args);
    self.postMessage({ id, result }, { transfer: buffersOf(result) });
  } catch (error) {
    self.postMessage({ id, problem: describe(method, error) });
  }
};

/**
 * @param {number} id
 * @param {string} method
 * @param {any[]} args
 */
async function answer(id, method, args) {
  const post = (/** @type {unknown} */ event) => self.postMessage({ id, event });
  if (method === "load") return load(/** @type {any} */ (args), post);
  if (!model) throw new ModelError("no model is loaded");
  if (method === "generate") return generate(id, model, args, post);
  if (!method.startsWith(TOKENIZER)) return /** @type {any} */ (model)[method](...args);
  postBusy(true);
  try {
    return /** @type {any} */ (model.tokenizer)[method.slice(TOKENIZER.length)](...args);
  } finally {
    postBusy(false);
  }
}

/** @param {boolean} tokenizerIsBusy */
function postBusy(tokenizerIsBusy) {
  self.postMessage({ tokenizerIsBusy });
}

/**
 * @param {string} method
 * @param {unknown} error
 * @returns {string} one line for the visitor
 */
function describe(method, error) {
  if (error instanceof ModelError) return error.message;
  // a hostile tokenizer.json makes a tokenizer fail in many ways
  if (method.startsWith(TOKENIZER)) return `this model's tokenizer can't read the text (${printable(String(error))})`;
  console.error(error);
  return `the explorer failed: ${error}`;
}

/**
 * @param {[import("./gpt2.js").Source, string]} args the source, and why the model is loaded without its tokenizer, or ""
 * @param {(event: unknown) => void} onProgress
 */
async function load([source, withoutTokenizer], onProgress) {
  model = await loadModel(source, { onProgress, onTokenizer: postBusy, tokenizerProblem: withoutTokenizer });
  const { config, generation, tokenizer, tokenizerProblem } = model;
  return { config, generation, unit: tokenizer?.unit, tokenizerProblem };
}

/**
 * @param {number} id
 * @param {import("./gpt2.js").GPT2} model
 * @param {any[]} args
 * @param {(event: unknown) => void} onToken
 */
async function generate(id, model, [ids, settings], onToken) {
  const controller = new AbortController();
  running.set(id, controller);
  try {
    return await model.generate(ids, { ...settings, signal: controller.signal }, onToken);
  } finally {
    running.delete(id);
  }
}

/**
 * @param {unknown} value
 * @returns {ArrayBuffer[]} the buffers of the typed arrays in a value
 */
function buffersOf(value) {
  if (ArrayBuffer.isView(value)) return [/** @type {ArrayBuffer} */ (value.buffer)];
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap(buffersOf);
}
