/**
 * Run any GPT-2 of the Hub, and look at every inner value. See README.md for the interface in a page, where worker.js
 * runs this module.
 *
 *     const model = await loadModel("org/name");
 *     const ids = model.tokenizer.encode("wine review : italy");
 *     const { logits, attentions, hidden, queries, keys, values } = model.forward(ids);
 *     await model.generate(ids, { temperature: 0.9, seed: 7 }, (step) => console.log(step.id));
 *
 * All arrays are Float32Arrays, row by row. The computation is that of transformers' GPT2LMHeadModel in float32.
 */
import { ACTIVATIONS } from "./activations.js";
import { parseConfig, parseGenerationConfig } from "./gpt2_config.js";
import { KeyValueCache } from "./key_value_cache.js";
import { areFinite, dot, layerNorm, multiply } from "./linear_algebra.js";
import { ModelError } from "./model_error.js";
import { ModelFiles, parseSource } from "./model_files.js";
import { distribution, draw, uniformNumbers } from "./sampling.js";
import { loadTokenizer } from "./tokenizer.js";
import { loadWeights } from "./weights.js";

/** The largest number of values that `forward` returns, 512 MB. */
const MOST_VALUES = 2 ** 27;
const MOST_JSON_BYTES = 1e6;

/**
 * @typedef {import("./gpt2_config.js").GPT2Config} GPT2Config
 * @typedef {import("./gpt2_config.js").GenerationDefaults} GenerationDefaults
 * @typedef {import("./model_files.js").Source} Source
 * @typedef {import("./weights.js").Weights} Weights
 * @typedef {import("./sampling.js").SamplingSettings} SamplingSettings
 * @typedef {import("./tokenizer.js").TextTokenizer} TextTokenizer
 */

/**
 * @typedef {object} Ablation
 * @property {[number, number][]} [switchedOff] layer and head of each head whose output is replaced by zeros
 */

/**
 * @typedef {object} Inner what a forward pass computed for a text of `seq` tokens
 * @property {Float32Array} logits (seq, vocabulary)
 * @property {Float32Array[]} hidden the residual: the embeddings, then what each block leaves, (seq, width) each. The
 *   last one is not normalized, unlike the last of transformers' hidden_states.
 * @property {Float32Array[][]} queries for each layer and head, (seq, head width)
 * @property {Float32Array[][]} keys as `queries`
 * @property {Float32Array[][]} values as `queries`
 * @property {Float32Array[][]} attentions for each layer and head, (seq, seq): row i is what token i attends to, 0 after i.
 *   Before the softmax a score is q·k · `config.scaling[layer]`.
 */

/**
 * @typedef {object} Step one generated token
 * @property {number} id
 * @property {number} position its index in the text
 * @property {number | null} u the drawn number; null if the most probable token was taken
 * @property {number} rank 0 for the most probable token
 * @property {number} probability of the token among the kept ones
 * @property {boolean} ends whether it ends the text
 */

/**
 * @typedef {object} GenerateSettings
 * @property {number} [temperature] each of these is the model's own default if absent, `model.generation`
 * @property {number} [topK]
 * @property {number} [topP]
 * @property {ArrayLike<number>} [suppress]
 * @property {number} [seed] 0 if absent
 * @property {number} [skip] how many of the seed's numbers the text's earlier tokens used; 0 if absent
 * @property {number} [maxNewTokens] no limit but the model's positions if absent
 * @property {[number, number][]} [switchedOff]
 * @property {AbortSignal} [signal] ends the text after the current token
 */

/**
 * Load a model.
 * @param {string | Source} source org/name, an address, or a {@link Source}
 * @param {object} [options]
 * @param {import("./weights.js").OnProgress} [options.onProgress]
 * @param {AbortSignal} [options.signal] ends the downloads
 * @param {(isBusy: boolean) => void} [options.onTokenizer] is called before and after the tokenizer is built
 * @param {string} [options.tokenizerProblem] why the model is loaded without its tokenizer
 * @returns {Promise<GPT2>}
 * @throws {ModelError} whose message is one line for the visitor
 */
export async function loadModel(source, { onProgress, signal, onTokenizer, tokenizerProblem } = {}) {
  const files = new ModelFiles(typeof source === "string" ? parseSource(source) : source, signal);
  const json = await files.json("config.json", MOST_JSON_BYTES);
  if (json === undefined) throw new ModelError(`${files.name} has no config.json: is it a model's folder?`);
  const config = parseConfig(json);
  const generation = parseGenerationConfig(await files.json("generation_config.json", MOST_JSON_BYTES), json, config);
  const words = tokenizerProblem ? { tokenizer: null, problem: tokenizerProblem } : await loadTokenizer(files, onTokenizer);
  try {
    return new GPT2(config, generation, await loadWeights(files, config, onProgress), words);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ModelError(`the browser has too little memory for ${files.name}, ${Math.round(config.parameters / 2.5e5)} MB`);
  }
}

export class GPT2 {
  #weights;
  #activation;
  /** @type {KeyValueCache} */ #cache;

  /**
   * @param {GPT2Config} config
   * @param {GenerationDefaults} generation
   * @param {Weights} weights
   * @param {{tokenizer: TextTokenizer | null, problem: string}} words
   */
  constructor(config, generation, weights, { tokenizer, problem }) {
    this.config = config;
    this.generation = generation;
    /** null if the model's tokenizer can't be used; ids still can */
    this.tokenizer = tokenizer;
    /** one line that says why there is no tokenizer */
    this.tokenizerProblem = problem;
    this.#weights = weights;
    this.#activation = ACTIVATIONS[config.activation];
    this.#cache = new KeyValueCache(config);
  }

  /**
   * Compute a text's logits and every inner value.
   * @param {ArrayLike<number>} ids
   * @param {Ablation} [options]
   * @returns {Inner}
   * @throws {ModelError} if the ids are none of the model's, or too many
   */
  forward(ids, { switchedOff = [] } = {}) {
    this.#check(ids, switchedOff);
    const { layers, heads, width, vocabSize } = this.config;
    const count = ids.length * (vocabSize + (4 * layers + 1) * width + layers * heads * ids.length);
    if (count > MOST_VALUES) {
      throw new ModelError(`the inner values of ${ids.length} tokens take ${Math.round(count / 2.5e5)} MB: choose a shorter text`);
    }
    /** @type {Omit<Inner, "logits">} */
    const inner = { hidden: [], queries: [], keys: [], values: [], attentions: [] };
    const residual = this.#run(ids, new KeyValueCache(this.config), switchedOff, inner);
    return { logits: this.lens(residual), ...inner };
  }

  /**
   * Compute the logits that follow a text. What it has in common with the last text is not computed again.
   * @param {ArrayLike<number>} ids
   * @param {Ablation} [options]
   * @returns {Float32Array} (vocabulary)
   * @throws {ModelError} if the ids are none of the model's, or too many
   */
  next(ids, { switchedOff = [] } = {}) {
    this.#check(ids, switchedOff);
    this.#cache.keepPrefix(ids, switchedOff);
    const residual = this.#run(Array.from(ids).slice(this.#cache.ids.length), this.#cache, switchedOff);
    return this.lens(residual.subarray(-this.config.width));
  }

  /**
   * The logit lens: the logits that residuals have if no further block changes them (final norm and head).
   * @param {Float32Array} residuals (rows, width), rows of `hidden`
   * @returns {Float32Array} (rows, vocabulary)
   */
  lens(residuals) {
    const { epsilon, vocabSize, width } = this.config;
    const { norm, head } = this.#weights;
    const rows = residuals.length / width, logits = new Float32Array(rows * vocabSize);
    multiply(layerNorm(residuals, norm.scale, norm.shift, epsilon), rows, head, null, logits);
    if (!areFinite(logits)) {
      throw new ModelError("the model's logits are not finite numbers, because its weights are too large for float32");
    }
    return logits;
  }

  /**
   * Continue a text until a token ends it, token by token; other work of the thread runs between tokens.
   * @param {ArrayLike<number>} ids
   * @param {GenerateSettings} [settings]
   * @param {(step: Step) => void} [onToken]
   * @returns {Promise<{ids: number[], reason: "end" | "length" | "stopped"}>} the new ids and why there are no more
   */
  async generate(ids, settings = {}, onToken) {
    const { temperature, topK, topP, suppress, ends } = this.generation;
    const sampling = defined({ temperature, topK, topP, suppress }, settings);
    const { seed = 0, skip = 0, maxNewTokens = Infinity, switchedOff, signal } = settings;
    checkNumbers({ ...sampling, seed, skip, maxNewTokens });
    const text = Array.from(ids), uniform = uniformNumbers(seed);
    for (let i = 0; i < Math.min(skip, this.config.positions); i++) uniform();
    const limit = Math.min(this.config.positions, text.length + maxNewTokens);
    /** @type {"end" | "length" | "stopped"} */ let reason = "length";
    while (text.length < limit && reason === "length") {
      const step = this.#chooseNext(text, sampling, { switchedOff }, uniform);
      text.push(step.id);
      onToken?.(step);
      await nextTask();
      if (ends.includes(step.id)) reason = "end";
      else if (signal?.aborted) reason = "stopped";
    }
    return { ids: text.slice(ids.length), reason };
  }

  /**
   * The words nearest to a word in the token embeddings, by cosine, itself excluded.
   * @param {number} id
   * @param {number} count
   * @returns {{id: number, cosine: number}[]}
   */
  nearest(id, count) {
    this.#check([id]);
    const { tokens } = this.#weights;
    const { width, vocabSize } = this.config;
    const norm = (/** @type {number} */ word) => Math.sqrt(dot(tokens, word * width, tokens, word * width, width)) || 1;
    const own = norm(id);
    return Array.from({ length: vocabSize }, (_, other) => other)
      .filter((other) => other !== id)
      .map((other) => ({ id: other, cosine: dot(tokens, id * width, tokens, other * width, width) / own / norm(other) }))
      .sort((one, other) => other.cosine - one.cosine)
      .slice(0, count);
  }

  /**
   * @param {ArrayLike<number>} ids
   * @returns {Float32Array} the token embeddings of ids, (ids, width)
   */
  embeddings(ids) {
    const { width, vocabSize } = this.config;
    const rows = new Float32Array(ids.length * width);
    for (let i = 0; i < ids.length; i++) {
      if (!isId(ids[i], vocabSize)) throw unknownId(ids[i], vocabSize);
      rows.set(this.#weights.tokens.subarray(ids[i] * width, (ids[i] + 1) * width), i * width);
    }
    return rows;
  }

  /**
   * @param {ArrayLike<number>} ids
   * @param {[number, number][]} [switchedOff]
   */
  #check(ids, switchedOff = []) {
    const { positions, vocabSize, layers, heads } = this.config;
    for (const [layer, head] of switchedOff) {
      if (!isId(layer, layers) || !isId(head, heads)) throw new ModelError(`the model has no head ${head} in layer ${layer}`);
    }
    if (!ids.length) throw new ModelError("the text has no token: type a word");
    if (ids.length > positions) throw new ModelError(`the text has ${ids.length} tokens; the model has ${positions} positions`);
    for (let i = 0; i < ids.length; i++) if (!isId(ids[i], vocabSize)) throw unknownId(ids[i], vocabSize);
  }

  /**
   * @param {number[]} text
   * @param {SamplingSettings} settings
   * @param {Ablation} ablation
   * @param {() => number} uniform
   * @returns {Step}
   */
  #chooseNext(text, settings, ablation, uniform) {
    const found = distribution(this.next(text, ablation), settings);
    const u = settings.temperature === 0 ? null : uniform();
    const rank = u === null ? 0 : draw(found, u);
    const id = found.ids[rank], probability = found.cumulative[rank] - (rank ? found.cumulative[rank - 1] : 0);
    return { id, position: text.length, u, rank, probability, ends: this.generation.ends.includes(id) };
  }

  /**
   * Extend a cache by ids.
   * @param {ArrayLike<number>} ids
   * @param {KeyValueCache} cache
   * @param {[number, number][]} switchedOff
   * @param {Omit<Inner, "logits">} [inner] is filled if given
   * @returns {Float32Array} the last block's residual, (ids, width)
   */
  #run(ids, cache, switchedOff, inner) {
    const { heads, width, epsilon } = this.config;
    const rows = ids.length, start = cache.ids.length;
    cache.reserve(start + rows);
    const residual = this.#embed(ids, start);
    inner?.hidden.push(residual.slice());
    this.#weights.blocks.forEach((block, layer) => {
      const normalized = layerNorm(residual, block.attentionNorm.scale, block.attentionNorm.shift, epsilon);
      const qkv = linear(normalized, rows, block.qkv);
      cache.store(layer, start, qkv);
      const attended = new Float32Array(rows * width);
      const off = new Set(switchedOff.filter(([at]) => at === layer).map(([, head]) => head));
      const weights = Array.from({ length: heads }, (_, head) =>
        cache.attend(layer, head, start, qkv, off.has(head) ? null : attended, inner !== undefined),
      );
      add(residual, linear(attended, rows, block.attentionOutput));
      const hidden = linear(layerNorm(residual, block.feedForwardNorm.scale, block.feedForwardNorm.shift, epsilon), rows, block.inner);
      for (let i = 0; i < hidden.length; i++) hidden[i] = this.#activation(hidden[i]);
      add(residual, linear(hidden, rows, block.output));
      if (inner) record(inner, residual, qkv, weights, this.config);
    });
    cache.ids.push(...Array.from(ids));
    return residual;
  }

  /**
   * @param {ArrayLike<number>} ids
   * @param {number} start position of the first
   * @returns {Float32Array} (ids, width)
   */
  #embed(ids, start) {
    const { width } = this.config;
    const residual = this.embeddings(ids);
    add(residual, this.#weights.positions.subarray(start * width, (start + ids.length) * width));
    return residual;
  }
}

/**
 * @param {Omit<Inner, "logits">} inner
 * @param {Float32Array} residual
 * @param {Float32Array} qkv (rows, 3 · width)
 * @param {Float32Array[]} weights
 * @param {GPT2Config} config
 */
function record(inner, residual, qkv, weights, { heads, headWidth, width }) {
  const rows = residual.length / width;
  const headsOf = (/** @type {number} */ first) =>
    Array.from({ length: heads }, (_, head) => {
      const part = new Float32Array(rows * headWidth);
      for (let row = 0; row < rows; row++) {
        const from = row * 3 * width + first + head * headWidth;
        part.set(qkv.subarray(from, from + headWidth), row * headWidth);
      }
      return part;
    });
  inner.queries.push(headsOf(0));
  inner.keys.push(headsOf(width));
  inner.values.push(headsOf(2 * width));
  inner.attentions.push(weights);
  inner.hidden.push(residual.slice());
}

/**
 * @param {Float32Array} x
 * @param {number} rows
 * @param {import("./weights.js").Linear} layer
 */
function linear(x, rows, { weight, bias }) {
  const y = new Float32Array(rows * bias.length);
  multiply(x, rows, weight, bias, y);
  return y;
}

/**
 * @param {Float32Array} sum
 * @param {Float32Array} values
 */
function add(sum, values) {
  for (let i = 0; i < sum.length; i++) sum[i] += values[i];
}

/**
 * Return the defaults, replaced by the settings that are not undefined.
 * @param {Required<SamplingSettings>} defaults
 * @param {SamplingSettings} settings
 * @returns {Required<SamplingSettings>}
 */
function defined(defaults, settings) {
  const given = Object.entries(settings).filter(([name, value]) => name in defaults && value !== undefined);
  return { ...defaults, ...Object.fromEntries(given) };
}

/** @param {Record<string, unknown>} settings */
function checkNumbers({ suppress: _, ...settings }) {
  for (const [name, value] of Object.entries(settings)) {
    const least = name === "seed" ? -Infinity : 0;
    if (typeof value !== "number" || !(value >= least)) throw new ModelError(`${name} must be a number from ${least}, not ${value}`);
  }
}

/**
 * @param {unknown} id
 * @param {number} vocabSize
 */
function isId(id, vocabSize) {
  return Number.isInteger(id) && /** @type {number} */ (id) >= 0 && /** @type {number} */ (id) < vocabSize;
}

/**
 * @param {unknown} id
 * @param {number} vocabSize
 */
function unknownId(id, vocabSize) {
  return new ModelError(`the model has no token ${id}: its vocabulary has ${vocabSize.toLocaleString("en")} tokens`);
}

/** @returns {Promise<void>} after the thread's waiting tasks, such as a message to stop */
function nextTask() {
  // a timer would wait 4 ms
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
