/** Load a GPT-2's weights, whole or sharded, into the layout that the forward pass reads. */
import { ModelError, printable } from "./model_error.js";
import { readHeader, readTensor } from "./safetensors.js";

/**
 * @typedef {import("./gpt2_config.js").GPT2Config} GPT2Config
 * @typedef {import("./model_files.js").ModelFiles} ModelFiles
 * @typedef {(progress: {loaded: number, total: number}) => void} OnProgress bytes of the weights
 */

/**
 * @typedef {object} Linear
 * @property {Float32Array} weight (outputs, inputs)
 * @property {Float32Array} bias (outputs)
 */

/**
 * @typedef {object} Norm
 * @property {Float32Array} scale (width)
 * @property {Float32Array} shift (width)
 */

/**
 * @typedef {object} Block
 * @property {Norm} attentionNorm
 * @property {Linear} qkv queries, keys and values of all heads, one after the other
 * @property {Linear} attentionOutput
 * @property {Norm} feedForwardNorm
 * @property {Linear} inner
 * @property {Linear} output
 */

/**
 * @typedef {object} Weights
 * @property {Float32Array} tokens token embeddings, (vocabulary, width)
 * @property {Float32Array} positions position embeddings, (positions, width)
 * @property {Block[]} blocks
 * @property {Norm} norm
 * @property {Float32Array} head (vocabulary, width); the same array as `tokens` if they are tied
 */

const WHOLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const MOST_SHARDS = 500;
/** What names of a GPT2LMHeadModel's tensors begin with, and those of a GPT2Model don't. */
const PREFIX = "transformer.";
const HEAD = "lm_head.weight";

/**
 * @param {ModelFiles} files
 * @param {GPT2Config} config
 * @param {OnProgress} [onProgress]
 * @returns {Promise<Weights>}
 * @throws {ModelError} if a tensor is missing, has another shape than the config says, or can't be read
 */
export async function loadWeights(files, config, onProgress) {
  const shapes = expectedShapes(config);
  /** @type {Map<string, Float32Array>} */ const tensors = new Map();
  for await (const [name, values] of readWanted(files, shapes, progressOf(config, onProgress))) {
    if (tensors.has(name)) throw new ModelError(`${files.name} has ${name} twice`);
    tensors.set(name, values);
  }
  return arrange(tensors, config, files.name);
}

/**
 * @param {ModelFiles} files
 * @param {Record<string, number[]>} shapes
 * @param {(count: number, size: number) => void} onBytes
 * @returns {AsyncGenerator<[string, Float32Array]>}
 */
async function* readWanted(files, shapes, onBytes) {
  let found = false;
  for await (const stream of openShards(files)) {
    found = true;
    try {
      const { entries } = await readHeader(stream);
      for (const entry of entries) {
        const name = entry.name.startsWith(PREFIX) ? entry.name.slice(PREFIX.length) : entry.name;
        if (!Object.hasOwn(shapes, name)) continue;
        if (entry.shape.join() !== shapes[name].join()) {
          throw new ModelError(
            `${stream.name}: ${name} has the shape ${printable(entry.shape)}; config.json says ${printable(shapes[name])}`,
          );
        }
        yield [name, await readTensor(stream, entry, isConv1D(name), onBytes)];
      }
    } finally {
      stream.close();
    }
  }
  if (!found) {
    throw new ModelError(`${files.name} has no ${WHOLE}: the explorer reads no pickled weights (pytorch_model.bin)`);
  }
}

/**
 * @param {ModelFiles} files
 * @returns {AsyncGenerator<import("./model_files.js").ByteStream, void>} the files with the weights, which the caller closes
 */
async function* openShards(files) {
  const { weights } = files.source, whole = await files.open(weights ?? WHOLE);
  if (whole) {
    yield whole;
    return;
  }
  if (weights) throw new ModelError(`${files.name} has no ${weights}`);
  const index = await files.json(INDEX, 10e6);
  if (index === undefined) return;
  const names = Object.values(/** @type {any} */ (index)?.weight_map ?? {});
  const shards = [...new Set(names)];
  const isName = (/** @type {unknown} */ name) => typeof name === "string" && /^[\w-][\w.-]*\.safetensors$/.test(name);
  if (!shards.length || shards.length > MOST_SHARDS || !shards.every(isName)) {
    throw new ModelError(`${INDEX} of ${files.name} names no files: its weight_map must hold names of safetensors files`);
  }
  for (const name of shards) {
    const stream = await files.open(/** @type {string} */ (name));
    if (!stream) throw new ModelError(`${files.name} has no ${name}, which ${INDEX} names`);
    yield stream;
  }
}

/**
 * @param {GPT2Config} config
 * @returns {Record<string, number[]>} the shape of each tensor in the file, without the prefix
 */
function expectedShapes({ vocabSize, positions, width, layers, inner }) {
  /** @type {Record<string, number[]>} */
  const shapes = { "wte.weight": [vocabSize, width], "wpe.weight": [positions, width], [HEAD]: [vocabSize, width] };
  const add = (/** @type {string} */ name, /** @type {number[]} */ ...shape) => {
    shapes[`${name}.weight`] = shape;
    shapes[`${name}.bias`] = shape.slice(-1);
  };
  for (let layer = 0; layer < layers; layer++) {
    add(`h.${layer}.ln_1`, width);
    add(`h.${layer}.attn.c_attn`, width, 3 * width);
    add(`h.${layer}.attn.c_proj`, width, width);
    add(`h.${layer}.ln_2`, width);
    add(`h.${layer}.mlp.c_fc`, width, inner);
    add(`h.${layer}.mlp.c_proj`, inner, width);
  }
  add("ln_f", width);
  return shapes;
}

/**
 * Whether transformers stores a matrix as (inputs, outputs).
 * @param {string} name
 */
function isConv1D(name) {
  return /\.c_(attn|proj|fc)\.weight$/.test(name);
}

/**
 * @param {Map<string, Float32Array>} tensors
 * @param {GPT2Config} config
 * @param {string} model
 * @returns {Weights}
 */
function arrange(tensors, config, model) {
  const get = (/** @type {string} */ name) => {
    const tensor = tensors.get(name);
    if (!tensor) throw new ModelError(`the weights of ${model} have no ${name}`);
    return tensor;
  };
  const norm = (/** @type {string} */ name) => ({ scale: get(`${name}.weight`), shift: get(`${name}.bias`) });
  const linear = (/** @type {string} */ name) => ({ weight: get(`${name}.weight`), bias: get(`${name}.bias`) });
  const [tokens, head] = embeddings(tensors, config.tied, get);
  const blocks = Array.from({ length: config.layers }, (_, layer) => ({
    attentionNorm: norm(`h.${layer}.ln_1`),
    qkv: linear(`h.${layer}.attn.c_attn`),
    attentionOutput: linear(`h.${layer}.attn.c_proj`),
    feedForwardNorm: norm(`h.${layer}.ln_2`),
    inner: linear(`h.${layer}.mlp.c_fc`),
    output: linear(`h.${layer}.mlp.c_proj`),
  }));
  return { tokens, positions: get("wpe.weight"), blocks, norm: norm("ln_f"), head };
}

/**
 * Return token embeddings and head as transformers ties them: a file with both, with other values, is not tied.
 * @param {Map<string, Float32Array>} tensors
 * @param {boolean} tied
 * @param {(name: string) => Float32Array} get
 * @returns {[Float32Array, Float32Array]}
 */
function embeddings(tensors, tied, get) {
  if (!tied) return [get("wte.weight"), get(HEAD)];
  const tokens = tensors.get("wte.weight") ?? tensors.get(HEAD) ?? get("wte.weight");
  const head = tensors.get(HEAD) ?? tokens;
  return [tokens, head.every((value, i) => value === tokens[i]) ? tokens : head];
}

/**
 * @param {GPT2Config} config
 * @param {OnProgress} [onProgress]
 * @returns {(count: number, size: number) => void} is given numbers of bytes, and the bytes of an element
 */
function progressOf({ parameters }, onProgress) {
  let elements = 0;
  return (count, size) => {
    elements += count / size;
    onProgress?.({ loaded: elements * size, total: parameters * size });
  };
}
