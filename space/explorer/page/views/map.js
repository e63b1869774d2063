/** The word map: a word's nearest words, and the most frequent words in the plane. */
import { fillRow, finder, makeButton, makeItem, placeTip } from "../dom.js";
import { nameOfToken } from "../names.js";
import { principalPlane, project } from "../projection.js";

const FREQUENT = 2000, NEAREST = 10;
/** Words to be seen together; those that the vocabulary lacks are left out. */
const GROUPS = {
  colors: "red white green black yellow golden purple pink ruby amber brown blue",
  places: "italy france spain us germany argentina chile portugal australia austria california tuscany bordeaux burgundy rioja mosel",
  grapes: "riesling chardonnay merlot malbec syrah sangiovese tempranillo nebbiolo viognier zinfandel grenache barbera",
  fruits: "cherry plum apple pear lemon peach berry blackberry raspberry strawberry quince orange lime melon",
};

/**
 * @typedef {import("../store.js").RemoteModel} RemoteModel
 * @typedef {import("../store.js").Vocabulary} Vocabulary
 * @typedef {{id: number, name: string, at: [number, number]}} Point
 */

/**
 * @typedef {object} Shown
 * @property {Point[]} points the most frequent words
 * @property {Map<string, Point[]>} groups the known words of each group
 * @property {Point[]} near the typed word and its nearest words
 * @property {string} group name of the marked group, "" to mark `near`
 */

/**
 * @param {HTMLElement} element
 * @param {import("../store.js").Store} store
 * @param {import("../i18n.js").Text} text
 */
export function mount(element, store, text) {
  const find = finder(element), canvas = find("canvas"), tip = find(".tip");
  /** @type {RemoteModel | null} the model that the points are of */ let drawn = null;
  /** @type {import("../projection.js").Plane | null} null until the points are placed */ let plane = null;
  /** @type {Shown} */ const shown = { points: [], groups: new Map(), near: [], group: "" };
  let asked = 0;

  async function prepare(/** @type {import("../store.js").State} */ state) {
    const { model, vocabulary } = state;
    drawn = model;
    plane = null;
    Object.assign(shown, { points: [], near: [], groups: new Map(), group: "" });
    if (!model || !vocabulary) return;
    const placed = await placeWords(model, vocabulary, (id, label) => nameOfToken(state, text, id, label));
    if (drawn !== model) return;
    plane = placed.plane;
    Object.assign(shown, { points: placed.points, groups: placed.groups });
    drawGroups();
    const first = firstPoint(shown, state);
    if (first && !find(".map-word").value) await choose(first);
    else await search();
  }

  async function search() {
    const { vocabulary } = store.state, current = ++asked, word = find(".map-word").value.trim();
    if (!word || !vocabulary) return;
    const id = await idOf(vocabulary, word);
    if (current === asked) await showNearest(word, id);
  }

  async function showNearest(/** @type {string} */ word, /** @type {number | undefined} */ id) {
    const { state } = store, { model, vocabulary } = state, current = ++asked, own = plane;
    if (!own || !model || !vocabulary || model !== drawn) return;
    const known = id !== undefined && id < model.config.vocabSize, found = known ? await model.nearest(id, NEAREST) : [];
    const ids = known ? [id, ...found.map((each) => each.id)] : [];
    const near = await placeTokens(model, vocabulary, ids, own, (each, label) => nameOfToken(state, text, each, label));
    if (current !== asked) return;
    shown.near = near;
    const hadFocus = find(".nearest").contains(document.activeElement);
    find(".nearest-line").textContent = text(known ? "map_nearest" : "map_unknown", { word });
    find(".nearest").replaceChildren(...found.map(({ cosine }, i) => makeRow(near[i + 1], cosine)));
    if (hadFocus) find(".nearest button")?.focus();
    drawMap(canvas, shown);
  }

  function makeRow(/** @type {Point} */ point, /** @type {number} */ cosine) {
    const row = makeButton("bar", "", () => choose(point));
    fillRow(row, point.name, [[cosine, ""]], [text.fixed(cosine)]);
    return makeItem(row);
  }

  /** Show a token by its id, because several tokens can have its name: "plum" with and without a space before it. */
  function choose(/** @type {Point} */ { id, name }) {
    find(".map-word").value = name;
    return showNearest(name, id);
  }

  function drawGroups() {
    find(".groups").replaceChildren(...[...shown.groups.keys()].map((name) => {
      const button = makeButton("tool", text(`map_${name}`), () => {
        shown.group = shown.group === name ? "" : name;
        markGroup();
        drawMap(canvas, shown);
      });
      button.dataset.group = name;
      return button;
    }));
    markGroup();
  }

  function markGroup() {
    for (const button of find(".groups").children) button.setAttribute("aria-pressed", String(button.dataset.group === shown.group));
  }

  canvas.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    const point = pointUnder(canvas, shown, event);
    tip.hidden = !point;
    if (!point) return;
    tip.textContent = point.name;
    placeTip(tip, element, event.clientX, event.clientY);
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const point = pointUnder(canvas, shown, event);
    if (point) choose(point);
  });
  find("form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    search();
  });
  new ResizeObserver(() => drawMap(canvas, shown)).observe(canvas);
  store.watch(["tab", "model"], (state) => {
    if (state.tab !== "map") return;
    if (drawn !== state.model) prepare(state);
    else drawMap(canvas, shown);
  });
}

/** @typedef {(id: number, label: string) => string} NameOf */

/**
 * Place the most frequent words and those of each group in the plane of the most frequent words.
 * @param {RemoteModel} model
 * @param {Vocabulary} vocabulary
 * @param {NameOf} nameOf
 * @returns {Promise<{points: Point[], groups: Map<string, Point[]>, plane: import("../projection.js").Plane}>}
 */
async function placeWords(model, vocabulary, nameOf) {
  const { vocabSize, width } = model.config;
  const ids = Array.from({ length: Math.min(FREQUENT, vocabSize) }, (_, id) => id);
  const plane = principalPlane(await model.embeddings(ids), width);
  const points = await placeTokens(model, vocabulary, ids, plane, nameOf);
  /** @type {Map<string, Point[]>} */ const groups = new Map();
  for (const [name, known] of await groupWords(vocabulary, vocabSize)) {
    groups.set(name, await placeTokens(model, vocabulary, known, plane, nameOf));
  }
  return { points: points.filter(({ name }) => !/^\[\w+\]$/.test(name)), groups, plane };
}

/**
 * @param {RemoteModel} model
 * @param {Vocabulary} vocabulary
 * @param {number[]} ids
 * @param {import("../projection.js").Plane} plane
 * @param {NameOf} nameOf
 * @returns {Promise<Point[]>}
 */
async function placeTokens(model, vocabulary, ids, plane, nameOf) {
  const labels = await vocabulary.labels(ids), rows = await model.embeddings(ids);
  return project(rows, plane).map((at, i) => ({ id: ids[i], name: nameOf(ids[i], labels[i]), at }));
}

/** @returns {Point | undefined} the word that the map shows first: the chosen one if it is on the map */
function firstPoint(/** @type {Shown} */ { points, groups }, /** @type {import("../store.js").State} */ { ids, chosen }) {
  const own = points.find(({ id }) => id === ids[chosen ?? -1]), [group] = groups.values();
  return own ?? group?.[0] ?? points.at(-1);
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Shown} shown
 * @returns {(at: [number, number]) => [number, number]} the pixel of a point of the plane, so that all points are on the canvas
 */
function scaleOf({ width, height }, { points, groups, near }) {
  const all = [...points, ...[...groups.values()].flat(), ...near];
  const edges = (/** @type {0 | 1} */ axis) => {
    const values = all.map(({ at }) => at[axis]);
    return [Math.min(...values), Math.max(...values)];
  };
  const [[left, right], [top, bottom]] = [edges(0), edges(1)];
  return ([x, y]) => [
    width * (0.04 + (0.9 * (x - left)) / (right - left || 1)), height * (0.05 + (0.9 * (y - top)) / (bottom - top || 1)),
  ];
}

/**
 * Draw a dot for each word, and the names of those of the marked group or of the nearest words.
 * @param {HTMLCanvasElement} canvas
 * @param {Shown} shown
 */
function drawMap(canvas, shown) {
  if (!shown.points.length || !canvas.clientWidth) return;
  const ratio = devicePixelRatio, style = getComputedStyle(canvas), color = (/** @type {string} */ name) => style.getPropertyValue(name);
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")), pixelOf = scaleOf(canvas, shown);
  const dot = (/** @type {Point} */ { at }, /** @type {number} */ size) => {
    const [x, y] = pixelOf(at);
    context.beginPath();
    context.arc(x, y, size * ratio, 0, 7);
    context.fill();
  };
  context.fillStyle = color("--bar-before");
  for (const point of shown.points) dot(point, 1.4);
  context.font = `${13 * ratio}px ${style.fontFamily}`;
  /** @type {number[][]} */ const taken = [];
  const marked = shown.group ? (shown.groups.get(shown.group) ?? []) : shown.near;
  marked.forEach((point, i) => {
    context.fillStyle = color(i === 0 && !shown.group ? "--wine-ink" : "--ink");
    dot(point, 3);
    const [x, y] = pixelOf(point.at), wide = context.measureText(point.name).width;
    // on the left of the dot where the right edge would cut the name
    const gap = 6 * ratio, left = x + gap + wide < canvas.width ? x + gap : x - gap - wide, top = freeLine(taken, left, y, wide, 14 * ratio);
    taken.push([left, top, wide]);
    context.fillText(point.name, left, top + 4 * ratio);
  });
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Shown} shown
 * @param {MouseEvent} event
 * @returns {Point | undefined} the point under the pointer
 */
function pointUnder(canvas, shown, { clientX, clientY }) {
  if (!shown.points.length) return undefined;
  const frame = canvas.getBoundingClientRect(), pixelOf = scaleOf(canvas, shown), ratio = canvas.width / frame.width;
  const distance = (/** @type {Point} */ { at }) => {
    const [x, y] = pixelOf(at);
    return Math.hypot(x / ratio - clientX + frame.left, y / ratio - clientY + frame.top);
  };
  const closest = shown.points.reduce((best, point) => (distance(point) < distance(best) ? point : best));
  return distance(closest) < 12 ? closest : undefined;
}

/**
 * @param {Vocabulary} vocabulary
 * @param {number} vocabSize
 * @returns {Promise<Map<string, number[]>>} the known words of each group that has at least three
 */
async function groupWords(vocabulary, vocabSize) {
  /** @type {Map<string, number[]>} */ const found = new Map();
  for (const [name, words] of Object.entries(GROUPS)) {
    const ids = await Promise.all(words.split(" ").map((word) => idOf(vocabulary, word)));
    const known = ids.filter((id) => id !== undefined && id < vocabSize);
    if (known.length > 2) found.set(name, /** @type {number[]} */ (known));
  }
  return found;
}

/**
 * @param {Vocabulary} vocabulary
 * @param {string} word
 * @returns {Promise<number | undefined>}
 */
async function idOf(vocabulary, word) {
  // byte-level tokenizers have a word with the space before it
  return (await vocabulary.idOf(word)) ?? (await vocabulary.idOf(word.toLowerCase())) ?? (await vocabulary.idOf(`Ġ${word}`)) ?? undefined;
}

/** @returns {number} the first line from y on, up or down, on which a label covers no other */
function freeLine(/** @type {number[][]} */ taken, /** @type {number} */ left, /** @type {number} */ y, /** @type {number} */ wide, /** @type {number} */ height) {
  for (let turn = 0; turn < 12; turn++) {
    const top = y + (turn % 2 ? 1 : -1) * Math.ceil(turn / 2) * height;
    if (taken.every(([x, line, other]) => Math.abs(line - top) >= height || left > x + other || x > left + wide)) return top;
  }
  return y;
}
