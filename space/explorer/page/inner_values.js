/** Compute the inner values of the text when a view needs them. */

import { surprises } from "../sampling.js";

/** Views that need them even if no word is chosen. */
const NEED_INNER = new Set(["lens", "heads", "scores", "guess"]);

/** @param {import("./store.js").Store} store */
export function keepInnerValues(store) {
  /** Whether they were asked for since the text or the heads changed. */ let isAsked = false;
  store.watch(["ids", "switchedOff", "writing"], () => {
    isAsked = false;
    store.set({ inner: null });
  });
  store.watch(["ids", "switchedOff", "writing", "chosen", "tab", "surprise", "model"], async (state) => {
    const { model, ids, switchedOff } = state;
    if (!model || isAsked || !isNeeded(state)) return;
    isAsked = true;
    const isCurrent = () => store.state.model === model && store.state.ids === ids && store.state.switchedOff === switchedOff;
    try {
      const found = await model.forward(ids, { switchedOff });
      if (isCurrent() && isNeeded(store.state)) store.set({ inner: found });
      else if (isCurrent()) isAsked = false;
    } catch (error) {
      if (isCurrent()) store.set({ problem: /** @type {Error} */ (error) });
    }
  });
}

/**
 * @param {import("./store.js").State} state
 * @returns {boolean} whether the inner values are wanted and the text is at rest
 */
function isNeeded({ ids, writing, chosen, tab, surprise, inner }) {
  const wanted = chosen !== null || surprise || NEED_INNER.has(tab);
  return wanted && !writing && !inner && ids.length > 1 && (chosen === null || chosen < ids.length);
}

/**
 * @param {import("./store.js").ComputedState} state
 * @param {number} position of a token after the first
 * @returns {Float32Array} the logits that predict it, (vocabulary)
 */
export function logitsBefore({ model, inner }, position) {
  const size = model.config.vocabSize;
  return inner.logits.subarray((position - 1) * size, position * size);
}

/**
 * @param {import("./store.js").ComputedState} state
 * @param {number} row
 * @param {number | null} layer null is the mean
 * @param {number | null} head
 * @returns {Float32Array} the attention of one token to itself and those before it, (row + 1)
 */
export function attentionRow({ inner, ids }, row, layer, head) {
  const layers = layer === null ? inner.attentions : [inner.attentions[layer]];
  const heads = layers.flatMap((each) => (head === null ? each : [each[head]]));
  const mean = new Float32Array(row + 1);
  for (const weights of heads) for (let at = 0; at <= row; at++) mean[at] += weights[row * ids.length + at] / heads.length;
  return mean;
}

/** @type {WeakMap<object, Float32Array>} */
const surpriseCache = new WeakMap();

/**
 * @param {import("./store.js").ComputedState} state
 * @returns {Float32Array} the surprise of each token after the first, in nats, (ids − 1)
 */
export function surprisesOf({ inner, ids }) {
  const found = surpriseCache.get(inner) ?? surprises(inner.logits, ids);
  surpriseCache.set(inner, found);
  return found;
}

/**
 * @param {Float32Array} nats the surprise of each token after the first
 * @param {number} given how many of the first tokens are the prompt's
 * @returns {number} the mean over the written tokens, or over all if none is written
 */
export function meanSurprise(nats, given) {
  const written = nats.subarray(Math.max(given - 1, 0)), values = written.length ? written : nats;
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
