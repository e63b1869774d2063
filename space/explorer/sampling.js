/**
 * Choose the next token from logits, so that the page can show why it came out.
 *
 * The steps and their order are those of transformers' `generate`: suppressed tokens, temperature, top-k, top-p. One
 * uniform number per token chooses by inverse CDF: the tokens stand in descending order of probability, and the token
 * whose interval of the cumulative probability contains the number is drawn. torch draws otherwise, so that equal seeds
 * give other texts there.
 */
import { MOST_IDS } from "./gpt2_config.js";
import { ModelError } from "./model_error.js";

const MOST_BITS = 2 ** 31 - 1;
/** What {@link sortDescending} sorts, kept because each token would leave as much garbage. */
let keys = new Float64Array(0);

/**
 * @typedef {object} SamplingSettings
 * @property {number} [temperature] 1 if absent; 0 chooses the most probable token
 * @property {number} [topK] only so many of the most probable tokens, and those as probable as the last; 0 is off
 * @property {number} [topP] only the most probable tokens that together reach this probability; 1 is off
 * @property {ArrayLike<number>} [suppress] ids that are never drawn
 */

/**
 * @typedef {object} Distribution
 * @property {Uint32Array} ids all ids, the most probable first; of equally probable ones the smallest id first
 * @property {Float32Array} before probability of each after temperature, before top-k and top-p, in the order of `ids`
 * @property {number} kept how many of the first ids top-k and top-p keep
 * @property {Float64Array} cumulative for each kept id, the probability of it and those before it; the last is 1
 */

/**
 * @param {Float32Array} logits of one position, (vocabulary)
 * @param {SamplingSettings} [settings]
 * @returns {Distribution}
 */
export function distribution(logits, { temperature = 1, topK = 0, topP = 1, suppress = [] } = {}) {
  const allowed = logits.slice();
  for (const id of Array.from(suppress)) if (id < allowed.length) allowed[id] = -Infinity;
  softmaxAt(allowed, temperature > 0 ? temperature : 1);
  const { ids, sorted: before } = sortDescending(allowed);
  const kept = temperature > 0 ? countKept(before, topK, topP) : 1;
  return { ids, before, kept, cumulative: cumulate(before, kept) };
}

/**
 * @param {Distribution} distribution
 * @param {number} count
 * @param {number} own rank of the text's token
 * @returns {number[]} the ranks of so many of the most probable tokens, and that of the text's
 */
export function likeliestRanks({ ids }, count, own) {
  const ranks = Array.from({ length: Math.min(count, ids.length) }, (_, rank) => rank);
  return own < ranks.length ? ranks : [...ranks, own];
}

/**
 * Return the rank, an index into `ids`, of the token that a number draws.
 * @param {Distribution} distribution
 * @param {number} u in [0, 1)
 * @returns {number}
 */
export function draw({ cumulative }, u) {
  let low = 0, high = cumulative.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (u < cumulative[middle]) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * Return a generator of uniform numbers in [0, 1) that a seed determines: sfc32 of PractRand, seeded by splitmix32.
 * @param {number} seed a whole number; its lowest 32 bits and the 21 above them count
 * @returns {() => number}
 */
export function uniformNumbers(seed) {
  let state = seed >>> 0;
  const splitmix = () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return mixed ^ (mixed >>> 15);
  };
  let a = splitmix(), b = splitmix(), counter = 1;
  state ^= Math.floor(seed / 2 ** 32);
  let c = splitmix();
  const next = () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  for (let i = 0; i < 12; i++) next();
  return () => next() / 2 ** 32;
}

/**
 * The surprise of each token after the first, in nats: −ln of the probability that the model gave it.
 * @param {Float32Array} logits (ids, vocabulary)
 * @param {ArrayLike<number>} ids
 * @returns {Float32Array} (ids − 1)
 */
export function surprises(logits, ids) {
  const vocabulary = logits.length / ids.length, nats = new Float32Array(Math.max(ids.length - 1, 0));
  for (let i = 0; i < nats.length; i++) {
    const row = logits.subarray(i * vocabulary, (i + 1) * vocabulary);
    let largest = -Infinity, sum = 0;
    for (let j = 0; j < vocabulary; j++) if (row[j] > largest) largest = row[j];
    for (let j = 0; j < vocabulary; j++) sum += Math.exp(row[j] - largest);
    nats[i] = Math.log(sum) + largest - row[ids[i + 1]];
  }
  return nats;
}

/**
 * Replace logits by their softmax.
 * @param {Float32Array} logits
 * @param {number} temperature above 0
 * @throws {ModelError} if all logits are −∞
 */
function softmaxAt(logits, temperature) {
  let largest = -Infinity, sum = 0;
  for (let i = 0; i < logits.length; i++) if (logits[i] > largest) largest = logits[i];
  if (largest === -Infinity) throw new ModelError("no token is left to draw: suppress fewer");
  for (let i = 0; i < logits.length; i++) sum += logits[i] = Math.exp((logits[i] - largest) / temperature);
  for (let i = 0; i < logits.length; i++) logits[i] /= sum;
}

/**
 * @param {Float32Array} probabilities none of them negative; is overwritten
 * @returns {{ids: Uint32Array, sorted: Float32Array}} all ids and their probabilities, the largest first
 */
function sortDescending(probabilities) {
  const bits = new Uint32Array(probabilities.buffer, probabilities.byteOffset, probabilities.length);
  if (keys.length !== bits.length) keys = new Float64Array(bits.length);
  // bits of floats that are not negative are in the floats' order, so a probability's bits and its id make one number,
  // which the sort of typed arrays compares fast
  for (let id = 0; id < keys.length; id++) keys[id] = (MOST_BITS - bits[id]) * MOST_IDS + id;
  keys.sort();
  const ids = new Uint32Array(keys.length);
  for (let rank = 0; rank < ids.length; rank++) {
    ids[rank] = keys[rank] % MOST_IDS;
    bits[rank] = MOST_BITS - (keys[rank] - ids[rank]) / MOST_IDS;
  }
  return { ids, sorted: probabilities };
}

/**
 * @param {Float32Array} before in descending order
 * @param {number} topK
 * @param {number} topP
 */
function countKept(before, topK, topP) {
  let kept = before.length;
  // a token of probability 0 can't be drawn
  while (kept > 1 && before[kept - 1] === 0) kept--;
  if (topK > 0 && topK < kept) {
    const least = before[topK - 1];
    kept = topK;
    while (kept < before.length && before[kept] === least) kept++;
  }
  if (topP >= 1) return kept;
  let total = 0, sum = 0, count = 0;
  for (let rank = 0; rank < kept; rank++) total += before[rank];
  while (count < kept && (count === 0 || sum < topP * total)) sum += before[count++];
  return count;
}

/**
 * @param {Float32Array} before
 * @param {number} kept
 */
function cumulate(before, kept) {
  const cumulative = new Float64Array(kept);
  let sum = 0;
  for (let rank = 0; rank < kept; rank++) cumulative[rank] = sum += before[rank];
  for (let rank = 0; rank < kept; rank++) cumulative[rank] /= sum;
  return cumulative;
}
