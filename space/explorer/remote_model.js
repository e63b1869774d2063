/**
 * A model in a Web Worker, with the interface of gpt2.js; each method returns a promise.
 *
 *     const model = await loadRemoteModel(parseSource("org/name"), { onProgress, signal });
 *     const { logits } = await model.forward(await model.tokenizer.encode("wine review : italy"));
 *     const { reason } = await model.generate(ids, { seed: 7, signal }, (step) => show(step));
 *     model.close();
 */
import { ModelError } from "./model_error.js";

/** Milliseconds for one call of a tokenizer: a hostile tokenizer.json can take forever. */
const TOKENIZER_LIMIT = 10_000;

/** @returns {string} that the tokenizer took longer than {@link TOKENIZER_LIMIT} for what it did */
const tooSlow = (/** @type {string} */ what) => `this model's tokenizer takes longer than ${TOKENIZER_LIMIT / 1000} seconds ${what}`;

/**
 * @typedef {import("./gpt2.js").Inner} Inner
 * @typedef {import("./gpt2.js").Step} Step
 * @typedef {import("./gpt2.js").Source} Source
 * @typedef {import("./gpt2.js").Ablation} Ablation
 */

/**
 * @param {Source} source
 * @param {{onProgress?: import("./weights.js").OnProgress, signal?: AbortSignal}} [options]
 * @returns {Promise<RemoteModel>}
 * @throws {ModelError} whose message is one line for the visitor
 */
export async function loadRemoteModel(source, options = {}) {
  try {
    return await load(source, options, "");
  } catch (error) {
    if (!(error instanceof SlowTokenizer)) throw error;
    return load(source, options, tooSlow("to load"));
  }
}

/**
 * @param {Source} source
 * @param {{onProgress?: import("./weights.js").OnProgress, signal?: AbortSignal}} options
 * @param {string} tokenizerProblem why the model is loaded without its tokenizer, or ""
 * @returns {Promise<RemoteModel>}
 */
async function load(source, { onProgress, signal }, tokenizerProblem) {
  const calls = new WorkerCalls();
  const end = () => calls.close(new ModelError("loading was stopped"));
  signal?.addEventListener("abort", end, { once: true });
  try {
    return new RemoteModel(calls, await calls.call("load", [source, tokenizerProblem], onProgress));
  } catch (error) {
    calls.close();
    throw error;
  } finally {
    signal?.removeEventListener("abort", end);
  }
}

/** The error of a tokenizer that was still at work after {@link TOKENIZER_LIMIT}, when its worker was ended. */
class SlowTokenizer extends ModelError {
  constructor() {
    super(tooSlow("for this text, so the model was closed: load it again"));
  }
}

/** The error of the calls that a model had not answered when the page closed it, which needs no message. */
export class ModelClosed extends ModelError {
  constructor() {
    super("the model was closed");
  }
}

export class RemoteModel {
  #calls;

  /**
   * @param {WorkerCalls} calls
   * @param {any} loaded
   */
  constructor(calls, { config, generation, unit, tokenizerProblem }) {
    this.#calls = calls;
    /** @type {import("./gpt2_config.js").GPT2Config} */ this.config = config;
    /** @type {import("./gpt2_config.js").GenerationDefaults} */ this.generation = generation;
    /** null if the model's tokenizer can't be used */
    this.tokenizer = unit ? new RemoteTokenizer(calls, unit) : null;
    /** @type {string} one line that says why there is no tokenizer */ this.tokenizerProblem = tokenizerProblem;
    // documented in gpt2.js
    /** @type {(ids: ArrayLike<number>, options?: Ablation) => Promise<Inner>} */ this.forward = calls.method("forward");
    /** @type {(ids: ArrayLike<number>, options?: Ablation) => Promise<Float32Array>} */ this.next = calls.method("next");
    /** @type {(residuals: Float32Array) => Promise<Float32Array>} */ this.lens = calls.method("lens");
    /** @type {(id: number, count: number) => Promise<{id: number, cosine: number}[]>} */ this.nearest = calls.method("nearest");
    /** @type {(ids: ArrayLike<number>) => Promise<Float32Array>} */ this.embeddings = calls.method("embeddings");
  }

  /**
   * See {@link import("./gpt2.js").GPT2.generate}.
   * @param {ArrayLike<number>} ids
   * @param {import("./gpt2.js").GenerateSettings} [settings]
   * @param {(step: Step) => void} [onToken]
   * @returns {Promise<{ids: number[], reason: "end" | "length" | "stopped"}>}
   */
  generate(ids, { signal, ...settings } = {}, onToken) {
    return this.#calls.call("generate", [ids, settings], onToken, signal);
  }

  /** End the worker and free its memory. */
  close() {
    this.#calls.close();
  }
}

/** The methods of {@link import("./tokenizer.js").TextTokenizer}, as promises. */
export class RemoteTokenizer {
  /**
   * @param {WorkerCalls} calls
   * @param {"word" | "character" | "token"} unit
   */
  constructor(calls, unit) {
    const method = (/** @type {string} */ name) => calls.method(`tokenizer.${name}`);
    this.unit = unit;
    /** @type {(text: string) => Promise<number[]>} */ this.encode = method("encode");
    /** @type {(text: string) => Promise<import("./tokenizer.js").Word[]>} */ this.split = method("split");
    /** @type {(ids: ArrayLike<number>) => Promise<string>} */ this.decode = method("decode");
    /** @type {(ids: ArrayLike<number>, from?: number) => Promise<string[]>} */ this.pieces = method("pieces");
    /** @type {(ids: ArrayLike<number>) => Promise<string[]>} */ this.labels = method("labels");
    /** @type {(label: string) => Promise<number | undefined>} */ this.idOf = method("idOf");
  }
}

/**
 * Start worker.js by a blob that imports it: a worker has the Content-Security-Policy of the page only if its address is
 * a blob's. Loaded from its own address it would have that of the server's answer, and a static Space sends none.
 */
function startWorker() {
  const code = `import ${JSON.stringify(new URL("./worker.js", import.meta.url).href)};`;
  const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  return new Worker(address, { type: "module" });
}

/** Calls of a worker's methods that wait for their answers. */
class WorkerCalls {
  #worker = startWorker();
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void, onEvent?: (event: any) => void}>} */
  #waiting = new Map();
  #count = 0;
  /** @type {ModelError | undefined} why no more calls are answered */ #closed;
  /** @type {ReturnType<typeof setTimeout> | undefined} ends the worker */ #timer;

  constructor() {
    this.#worker.onmessage = ({ data: { id, event, result, problem, tokenizerIsBusy } }) => {
      if (tokenizerIsBusy !== undefined) return this.#limitTokenizer(tokenizerIsBusy);
      const call = this.#waiting.get(id);
      if (!call) return;
      if (event !== undefined) return call.onEvent?.(event);
      this.#waiting.delete(id);
      if (problem === undefined) call.resolve(result);
      else call.reject(new ModelError(problem));
    };
    this.#worker.onerror = () => this.close(new ModelError("the explorer's worker failed: reload the page"));
  }

  /**
   * @param {string} method
   * @param {any[]} args
   * @param {(event: any) => void} [onEvent]
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  call(method, args, onEvent, signal) {
    if (this.#closed) return Promise.reject(this.#closed);
    const id = this.#count++, stop = () => this.#worker.postMessage({ stop: id });
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject, onEvent }));
    this.#worker.postMessage({ id, method, args });
    if (!signal) return answer;
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    return answer.finally(() => signal.removeEventListener("abort", stop));
  }

  /**
   * @param {string} name
   * @returns {(...args: any[]) => Promise<any>} the method of this name
   */
  method(name) {
    return (...args) => this.call(name, args);
  }

  /** @param {ModelError} [why] */
  close(why = new ModelClosed()) {
    this.#closed ??= why;
    clearTimeout(this.#timer);
    this.#worker.terminate();
    for (const { reject } of this.#waiting.values()) reject(this.#closed);
    this.#waiting.clear();
  }

  /** @param {boolean} isBusy */
  #limitTokenizer(isBusy) {
    clearTimeout(this.#timer);
    if (isBusy) this.#timer = setTimeout(() => this.close(new SlowTokenizer()), TOKENIZER_LIMIT);
  }
}
