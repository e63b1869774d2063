/** The keys and values of a text, kept from token to token, and the attention to them. */
import { dot, softmax } from "./linear_algebra.js";

/** @typedef {import("./gpt2_config.js").GPT2Config} GPT2Config */

/** The keys and values of a text's tokens in each layer, so that a longer text costs only its new tokens. */
export class KeyValueCache {
  /** @param {GPT2Config} config */
  constructor(config) {
    this.config = config;
    /** @type {number[]} */ this.ids = [];
    /** @type {string} */ this.switchedOff = "";
    /** @type {{keys: Float32Array, values: Float32Array}[]} (positions, width) for each layer */
    this.layers = Array.from({ length: config.layers }, () => ({ keys: new Float32Array(0), values: new Float32Array(0) }));
  }

  /**
   * Forget all but what a text begins with; at least its last token is computed again, whose logits are not kept.
   * @param {ArrayLike<number>} ids
   * @param {[number, number][]} switchedOff
   */
  keepPrefix(ids, switchedOff) {
    const heads = JSON.stringify(switchedOff);
    const most = heads === this.switchedOff ? Math.min(this.ids.length, ids.length - 1) : 0;
    let same = 0;
    while (same < most && this.ids[same] === ids[same]) same++;
    this.ids.length = same;
    this.switchedOff = heads;
  }

  /** @param {number} positions */
  reserve(positions) {
    const { width, positions: most } = this.config;
    if (this.layers[0].keys.length >= positions * width) return;
    // double the capacity, so that a growing text is rarely copied
    const size = Math.min(2 * positions, most) * width;
    for (const layer of this.layers) {
      layer.keys = grown(layer.keys, size);
      layer.values = grown(layer.values, size);
    }
  }

  /**
   * @param {number} layer
   * @param {number} start
   * @param {Float32Array} qkv (rows, 3 · width)
   */
  store(layer, start, qkv) {
    const { width } = this.config;
    const { keys, values } = this.layers[layer];
    for (let from = 0, to = start * width; from < qkv.length; from += 3 * width, to += width) {
      keys.set(qkv.subarray(from + width, from + 2 * width), to);
      values.set(qkv.subarray(from + 2 * width, from + 3 * width), to);
    }
  }

  /**
   * Attend from each new token to all up to itself, in one head.
   * @param {number} layer
   * @param {number} head
   * @param {number} start position of the first new token
   * @param {Float32Array} qkv (rows, 3 · width)
   * @param {Float32Array | null} attended (rows, width), whose part of this head is overwritten
   * @param {boolean} keep whether to return all weights
   * @returns {Float32Array} (rows, positions); of the last row only unless `keep`
   */
  attend(layer, head, start, qkv, attended, keep) {
    const { width, headWidth, scaling } = this.config;
    const { keys, values } = this.layers[layer];
    const rows = qkv.length / (3 * width), positions = start + rows, offset = head * headWidth;
    const weights = new Float32Array(keep ? rows * positions : positions);
    for (let row = 0; row < rows; row++) {
      const from = keep ? row * positions : 0, seen = start + row + 1;
      for (let at = 0; at < seen; at++) {
        weights[from + at] = scaling[layer] * dot(qkv, row * 3 * width + offset, keys, at * width + offset, headWidth);
      }
      softmax(weights, from, seen);
      if (attended) mix(attended, row * width + offset, weights, from, seen, values, offset, width, headWidth);
    }
    return weights;
  }
}

/**
 * Add the weighted sum of the values of `seen` positions to one head's part of an output.
 * @param {Float32Array} attended (rows, width)
 * @param {number} to offset of the head's part of the row
 * @param {Float32Array} weights
 * @param {number} from offset of the row's weights
 * @param {number} seen
 * @param {Float32Array} values (positions, width)
 * @param {number} offset of the head in a row of `values`
 * @param {number} width
 * @param {number} headWidth
 */
function mix(attended, to, weights, from, seen, values, offset, width, headWidth) {
  for (let at = 0; at < seen; at++) {
    const weight = weights[from + at], value = at * width + offset;
    for (let i = 0; i < headWidth; i++) attended[to + i] += weight * values[value + i];
  }
}

/**
 * @param {Float32Array} values
 * @param {number} size
 */
function grown(values, size) {
  const larger = new Float32Array(size);
  larger.set(values);
  return larger;
}
