/**
 * The Web Worker that loads and runs a model, so that the page stays responsive. remote_model.js is its other side.
 *
 * A request is `{id, method, args}`, and its answer `{id, result}` or `{id, problem}`. While a request runs, `{id, event}`
 * may come, and `{stop: id}` ends a text. Arrays are moved, not copied.
 */
import { loadModel } from "./gpt2.js";
import { ModelError } from "./model_error.js";

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
    if (!(error instanceof ModelError)) console.error(error);
    self.postMessage({ id, problem: error instanceof ModelError ? error.message : `the explorer failed: ${error}` });
  }
};

/**
 * @param {number} id
 * @param {string} method
 * @param {any[]} args
 */
async function answer(id, method, args) {
  const post = (/** @type {unknown} */ event) => self.postMessage({ id, event });
  if (method === "load") return load(args[0], post);
  if (!model) throw new ModelError("no model is loaded");
  if (method === "generate") return generate(id, model, args, post);
  const [owner, name] = method.startsWith("tokenizer.") ? [model.tokenizer, method.slice(10)] : [model, method];
  return /** @type {any} */ (owner)[name](...args);
}

/**
 * @param {import("./gpt2.js").Source} source
 * @param {(event: unknown) => void} onProgress
 */
async function load(source, onProgress) {
  model = await loadModel(source, { onProgress });
  const { config, generation, tokenizer, tokenizerProblem } = model;
  return { config, generation, wordLevel: tokenizer?.wordLevel ?? null, tokenizerProblem };
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
