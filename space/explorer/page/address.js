/** The page's state as a link. */
import { BOUNDS } from "./store.js";

const WHOLE = /^\d{1,10}$/;

/**
 * @typedef {object} Linked what a link sets; undefined where it sets nothing
 * @property {Partial<import("./store.js").State>} state
 * @property {Partial<import("./store.js").Settings>} settings
 * @property {number[] | undefined} written ids of an edited text after its prompt
 * @property {number | undefined} word position of the chosen word
 * @property {string[]} ignored names of invalid parameters
 */

/**
 * @param {string} search the query string
 * @param {string[]} tabs names of the views
 * @returns {Linked}
 */
export function parseAddress(search, tabs) {
  const query = new URLSearchParams(search);
  /** @type {string[]} */ const ignored = [];
  const parse = (/** @type {string} */ name, /** @type {(value: string) => any} */ read) => {
    const given = query.get(name), value = given === null ? undefined : read(given);
    if (given !== null && value === undefined) ignored.push(name);
    return value;
  };
  const between = (/** @type {number} */ least, /** @type {number} */ most) => (/** @type {string} */ value) => {
    const number = value.trim() ? Number(value) : NaN;
    return number >= least && number <= most ? number : undefined;
  };
  const whole = (/** @type {number} */ least, /** @type {number} */ most) => (/** @type {string} */ value) =>
    WHOLE.test(value) ? between(least, most)(value) : undefined;
  const settings = defined({
    temperature: parse("temperature", between(...BOUNDS.temperature)), topP: parse("top_p", between(...BOUNDS.topP)),
    topK: parse("top_k", whole(...BOUNDS.topK)), length: parse("length", whole(...BOUNDS.length)), seed: parse("seed", whole(...BOUNDS.seed)),
  });
  const state = defined({
    prompt: parse("prompt", (value) => (value.length <= 20_000 ? value : undefined)),
    tab: parse("tab", (value) => (tabs.includes(value) ? value : undefined)),
    layer: parse("layer", whole(0, 511)), head: parse("head", whole(0, 1023)),
    surprise: parse("surprise", (value) => value === "1" || undefined),
    switchedOff: parse("off", parseHeads),
  });
  return { settings, state, written: parse("ids", parseIds), word: parse("word", whole(1, 1e6)), ignored };
}

/**
 * @param {import("./store.js").State} state
 * @param {string} href the page's current address, whose model and lang are kept
 * @returns {string} of dropped files only the prompt and the settings
 */
export function addressOf(state, href) {
  const { source, prompt, begun, settings, edited, reason, ids, words, given, chosen, tab, layer, head, surprise, switchedOff } = state;
  const link = new URL(href), kept = (/** @type {string} */ name) => link.searchParams.get(name);
  const needsIds = begun !== null && (edited || reason === "stopped");
  // no link names dropped files, and ids, positions and heads mean something else in another model
  const ofModel = source?.files ? {} : {
    model: kept("model"), revision: kept("revision"), ids: needsIds ? ids.slice(given).join(".") : null,
    word: chosen, layer, head, off: switchedOff.length ? switchedOff.map((pair) => pair.join(".")).join("_") : null,
  };
  // the seed did not draw them
  const areLinked = words.some(({ linked }) => linked);
  const values = {
    ...ofModel,
    lang: kept("lang"), prompt: begun ?? prompt,
    temperature: round(settings.temperature), top_k: settings.topK, top_p: round(settings.topP), length: settings.length,
    seed: areLinked ? null : settings.seed, tab: tab === "next" ? null : tab, surprise: surprise ? 1 : null,
  };
  link.search = "";
  for (const [name, value] of Object.entries(values)) if (value !== null) link.searchParams.set(name, String(value));
  return link.href;
}

/** @param {number} value */
const round = (value) => Number(value.toPrecision(4));

/** @param {Record<string, any>} values */
function defined(values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/** @param {string} value */
function parseIds(value) {
  const parts = value === "" ? [] : value.split(".");
  return parts.every((part) => /^\d{1,7}$/.test(part)) ? parts.map(Number) : undefined;
}

/** @param {string} value */
function parseHeads(value) {
  const pairs = value.split("_").map((pair) => /^(\d{1,3})\.(\d{1,4})$/.exec(pair));
  return pairs.length <= 10_000 && pairs.every(Boolean) ? pairs.map((pair) => [Number(pair?.[1]), Number(pair?.[2])]) : undefined;
}
