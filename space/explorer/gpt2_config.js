/**
 * Validate a GPT-2's config.json and generation_config.json, so that nothing later depends on an unchecked value.
 *
 * Fields and defaults are those of transformers' GPT2Config; what it ignores for a GPT2LMHeadModel is ignored here.
 */
import { ACTIVATIONS } from "./activations.js";
import { ModelError, printable } from "./model_error.js";

/** The largest number of parameters: 4 GB in float32, about what a browser gives to a page. */
export const MOST_PARAMETERS = 1e9;
/** Above every id: the largest vocabulary, with which ids and probabilities still fit into one number (sampling.js). */
export const MOST_IDS = 2 ** 21;

/**
 * @typedef {object} GPT2Config
 * @property {number} vocabSize
 * @property {number} positions largest number of tokens of a text
 * @property {number} width the residual's dimension, n_embd
 * @property {number} layers
 * @property {number} heads heads of each layer
 * @property {number} headWidth the dimension of a head's queries, keys and values
 * @property {number} inner the feed-forward layer's dimension
 * @property {string} activation a name in transformers' ACT2FN
 * @property {number} epsilon of the layer normalizations
 * @property {number[]} scaling for each layer, the factor of q·k before the softmax
 * @property {boolean} tied whether the output head is the token embedding
 * @property {number} parameters their number, without a second output head of an untied model's file
 */

/**
 * @typedef {object} GenerationDefaults what generation_config.json says, else config.json, else transformers
 * @property {number} temperature 0 is greedy decoding
 * @property {number} topK 0 is off
 * @property {number} topP 1 is off
 * @property {number[]} suppress ids that are never generated
 * @property {number[]} ends ids that end a text
 * @property {number | null} bos
 * @property {string[]} ignored names of settings that the explorer does not apply
 */

/**
 * Other names that transformers accepts in config.json, GPT2Config.attribute_map.
 * @type {Record<string, string>}
 */
const ALIASES = {
  n_embd: "hidden_size",
  n_positions: "max_position_embeddings",
  n_head: "num_attention_heads",
  n_layer: "num_hidden_layers",
};

/**
 * Settings of a generation config that change the text and that the explorer lacks, with the values that are off.
 * @type {Record<string, number | null>}
 */
const UNSUPPORTED = {
  num_beams: 1, num_beam_groups: 1, repetition_penalty: 1, no_repeat_ngram_size: 0, min_length: 0,
  min_new_tokens: null, typical_p: 1, epsilon_cutoff: 0, eta_cutoff: 0, min_p: null, top_h: null,
  guidance_scale: null, penalty_alpha: null, bad_words_ids: null, begin_suppress_tokens: null, sequence_bias: null,
  forced_bos_token_id: null, forced_eos_token_id: null, encoder_repetition_penalty: 1,
  exponential_decay_length_penalty: null, stop_strings: null, watermarking_config: null,
};

/**
 * @param {unknown} json the parsed config.json
 * @returns {GPT2Config}
 * @throws {ModelError} if a value is out of bounds or the model is none that the explorer runs
 */
export function parseConfig(json) {
  const fields = object(json, "config.json");
  refuseOtherModels(fields);
  const width = integer(fields, "n_embd", 768, 1, 65536);
  const heads = integer(fields, "n_head", 12, 1, 1024);
  if (width % heads) throw new ModelError(`config.json: n_embd ${width} is no multiple of n_head ${heads}`);
  const headWidth = width / heads;
  const layers = integer(fields, "n_layer", 12, 1, 512);
  const activation = fields.activation_function ?? "gelu_new";
  if (typeof activation !== "string" || !Object.hasOwn(ACTIVATIONS, activation)) {
    throw new ModelError(
      `config.json: the explorer has no activation_function “${printable(activation)}”; it has ${Object.keys(ACTIVATIONS).join(", ")}`,
    );
  }
  const base = flag(fields, "scale_attn_weights", true) ? headWidth ** -0.5 : 1;
  const byLayer = flag(fields, "scale_attn_by_inverse_layer_idx", false);
  const config = {
    vocabSize: integer(fields, "vocab_size", 50257, 1, MOST_IDS),
    positions: integer(fields, "n_positions", 1024, 1, 2 ** 20),
    width,
    layers,
    heads,
    headWidth,
    inner: integer(fields, "n_inner", 4 * width, 1, 2 ** 20),
    activation,
    epsilon: number(fields, "layer_norm_epsilon", 1e-5, 0, 1),
    scaling: Array.from({ length: layers }, (_, layer) => (byLayer ? base / (layer + 1) : base)),
    tied: flag(fields, "tie_word_embeddings", true),
    parameters: 0,
  };
  config.parameters = countParameters(config);
  if (config.parameters > MOST_PARAMETERS) {
    const millions = (/** @type {number} */ count) => Math.round(count / 1e6).toLocaleString("en");
    throw new ModelError(
      `config.json: the model has ${millions(config.parameters)} million parameters; the explorer runs at most ` +
        `${millions(MOST_PARAMETERS)} million`,
    );
  }
  return config;
}

/**
 * @param {unknown} json the parsed generation_config.json, or undefined if there is none
 * @param {unknown} configJson the parsed config.json, which older models use for both
 * @param {GPT2Config} config
 * @returns {GenerationDefaults}
 */
export function parseGenerationConfig(json, configJson, config) {
  const model = object(configJson, "config.json");
  const file = json === undefined ? "config.json" : "generation_config.json";
  const fields = json === undefined ? model : object(json, file);
  const isId = (/** @type {any} */ id) => Number.isInteger(id) && id >= 0 && id < config.vocabSize;
  const ids = (/** @type {unknown} */ value) => /** @type {number[]} */ ( [value ?? []].flat().filter(isId));
  const bos = fields.bos_token_id ?? model.bos_token_id;
  return {
    temperature: fields.do_sample === false ? 0 : number(fields, "temperature", 1, 0, 1e4, file),
    topK: integer(fields, "top_k", 50, 0, 2 ** 31, file),
    topP: number(fields, "top_p", 1, 0, 1, file),
    suppress: ids(fields.suppress_tokens),
    ends: ids(fields.eos_token_id ?? model.eos_token_id ?? 50256),
    bos: isId(bos) ? bos : null,
    ignored: Object.keys(UNSUPPORTED).filter((name) => (fields[name] ?? UNSUPPORTED[name]) !== UNSUPPORTED[name]),
  };
}

/** @param {Record<string, any>} fields */
function refuseOtherModels(fields) {
  const type = fields.model_type ?? "gpt2";
  if (type !== "gpt2") throw new ModelError(`the explorer runs GPT-2 models, and this model is a “${printable(type)}”`);
  const [architecture] = [fields.architectures ?? []].flat();
  if (architecture !== undefined && !["GPT2LMHeadModel", "GPT2Model", "GPT2DoubleHeadsModel"].includes(architecture)) {
    throw new ModelError(`the explorer runs GPT2LMHeadModel, and this model is a “${printable(architecture)}”`);
  }
  if (flag(fields, "add_cross_attention", false)) {
    throw new ModelError("config.json: the explorer has no cross-attention (add_cross_attention)");
  }
  if (fields.quantization_config) {
    throw new ModelError("config.json: the explorer runs no quantized weights (quantization_config)");
  }
}

/** @param {GPT2Config} config */
function countParameters({ vocabSize, positions, width, layers, inner, tied }) {
  const block = 4 * width * (width + 1) + inner * (2 * width + 1) + width + 4 * width;
  return (vocabSize * (tied ? 1 : 2) + positions + 2) * width + layers * block;
}

/**
 * @param {unknown} value
 * @param {string} file
 * @returns {Record<string, any>}
 */
function object(value, file) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ModelError(`${file} must hold a JSON object`);
  }
  return /** @type {Record<string, any>} */ (value);
}

/**
 * @param {Record<string, any>} fields
 * @param {string} name
 * @returns {any} a field's value, by its own name or the other name that transformers accepts
 */
function field(fields, name) {
  const value = Object.hasOwn(fields, name) ? fields[name] : undefined;
  const alias = ALIASES[name];
  return value ?? (alias && Object.hasOwn(fields, alias) ? fields[alias] : undefined);
}

/**
 * Return the whole number of a field, checked as {@link number} does.
 * @param {Record<string, any>} fields
 * @param {string} name
 * @param {number} ifAbsent
 * @param {number} least
 * @param {number} most
 * @param {string} [file]
 * @returns {number}
 */
function integer(fields, name, ifAbsent, least, most, file = "config.json") {
  const value = number(fields, name, ifAbsent, least, most, file);
  if (!Number.isInteger(value)) throw new ModelError(`${file}: ${name} must be a whole number, not ${value}`);
  return value;
}

/**
 * @param {Record<string, any>} fields
 * @param {string} name
 * @param {number} ifAbsent
 * @param {number} least
 * @param {number} most
 * @param {string} [file] for the error message
 * @returns {number}
 * @throws {ModelError} if the field is no number from `least` to `most`
 */
function number(fields, name, ifAbsent, least, most, file = "config.json") {
  const value = field(fields, name) ?? ifAbsent;
  if (typeof value !== "number" || !(value >= least && value <= most)) {
    throw new ModelError(`${file}: ${name} must be a number from ${least} to ${most}, not ${printable(value)}`);
  }
  return value;
}

/**
 * @param {Record<string, any>} fields
 * @param {string} name
 * @param {boolean} ifAbsent
 * @returns {boolean}
 */
function flag(fields, name, ifAbsent) {
  const value = field(fields, name) ?? ifAbsent;
  if (typeof value !== "boolean") throw new ModelError(`config.json: ${name} must be true or false, not ${printable(value)}`);
  return value;
}
