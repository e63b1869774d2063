/**
 * Find spans of a text that are in the model's training set, by the Bloom filter of training_ngrams.safetensors.
 *
 * wine_gpt/evaluation/ngram_index.py writes the file and describes it. The spans of a training text do not overlap, so a
 * copied run of n to 2n − 2 words may be missed.
 */
import { ModelError } from "../model_error.js";
import { readHeader } from "../safetensors.js";
import { blake2b } from "./blake2b.js";

const FILE = "training_ngrams.safetensors", FORMAT = "wine_gpt.ngrams.v2", MOST_BYTES = 20e6;

/**
 * @typedef {object} CopyIndex
 * @property {Uint8Array} filter
 * @property {number} n words of a span
 * @property {number} hashes
 * @property {number} bits
 * @property {number} reviews indexed training texts
 */

/**
 * @param {import("../model_files.js").ModelFiles} files
 * @returns {Promise<CopyIndex | null>} null if the model has none that can be read
 */
export async function loadCopyIndex(files) {
  /** @type {import("../model_files.js").ByteStream | undefined} */ let stream;
  try {
    stream = await files.open(FILE);
    return stream ? await read(stream) : null;
  } catch (error) {
    // the index is optional, so that a damaged one stops nothing, and another model ends the download
    if (files.signal?.aborted || error instanceof ModelError || error instanceof SyntaxError) return null;
    throw error;
  } finally {
    stream?.close();
  }
}

/**
 * @param {import("../model_files.js").ByteStream} stream
 * @returns {Promise<CopyIndex | null>}
 */
async function read(stream) {
  const { metadata, entries } = await readHeader(stream), start = stream.position;
  const filter = await stream.readAll(MOST_BYTES), entry = entries.find(({ name }) => name === "filter");
  const { format, n, hashes, bits, reviews } = JSON.parse(metadata?.index ?? "{}") ?? {};
  const isWhole = entry?.begin === start && entry.end === start + filter.length;
  const isCount = (/** @type {unknown} */ value, /** @type {number} */ most) => Number.isInteger(value) && /** @type {number} */ (value) > 0 && /** @type {number} */ (value) <= most;
  const sound = format === FORMAT && isWhole && isCount(n, 100) && isCount(hashes, 64) && isCount(bits, 8 * filter.length) && isCount(reviews, 1e12);
  return sound ? { filter, n, hashes, bits, reviews } : null;
}

/**
 * @param {CopyIndex} index
 * @param {string[]} words
 * @returns {{start: number, length: number} | null} the longest run of adjacent spans that are in the index
 */
export function longestSpan(index, words) {
  const { n } = index, lengths = new Array(words.length + 1).fill(0);
  for (let start = words.length - n; start >= 0; start--) {
    if (contains(index, words.slice(start, start + n).join(" "))) lengths[start] = n + lengths[start + n];
  }
  const length = Math.max(...lengths);
  return length ? { start: lengths.indexOf(length), length } : null;
}

/**
 * @param {CopyIndex} index
 * @param {string} span
 */
function contains({ filter, hashes, bits }, span) {
  const [first, second] = blake2b(new TextEncoder().encode(span), 16), odd = second | 1n;
  for (let turn = 0n; turn < BigInt(hashes); turn++) {
    const bit = Number(BigInt.asUintN(64, first + turn * odd) % BigInt(bits));
    if (!(filter[bit >> 3] & (1 << (bit & 7)))) return false;
  }
  return true;
}
