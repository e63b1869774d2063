/** The word map: a word's nearest words, and the most frequent words in the plane. */
import { finder, make, makeBar, makeButton } from "../dom.js";
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

/** @typedef {{id: number, name: string, at: [number, number]}} Point */

/**
 * @param {HTMLElement} element
 * @param {import("../store.js").Store} store
 * @param {import("../i18n.js").Text} text
 */
export function mount(element, store, text) {
  const find = finder(element), canvas = find("canvas"), tip = find(".tip");
  /** @type {any} the model that the points are of */ let drawn = null;
  /** @type {Point[]} */ let points = [];
  /** @type {Map<string, Point[]>} */ let groups = new Map();
  /** @type {Point[]} */ let near = [];
  let group = "", asked = 0;

  async function prepare(/** @type {import("../store.js").State} */ state) {
    const { model, vocabulary } = state;
    drawn = model;
    points = near = [];
    groups = new Map();
    if (!model) return;
    const { vocabSize, width } = model.config;
    const ids = Array.from({ length: Math.min(FREQUENT, vocabSize) }, (_, id) => id);
    const words = await groupWords(vocabulary, vocabSize);
    const all = [...ids, ...[...words.values()].flat()], labels = await vocabulary.labels(all);
    const rows = await model.embeddings(all);
    if (drawn !== model) return;
    const plane = principalPlane(rows.subarray(0, ids.length * width), width);
    const placed = project(rows, plane).map((at, i) => ({ id: all[i], name: nameOfToken(state, text, all[i], labels[i]), at }));
    points = placed.slice(0, ids.length).filter(({ name }) => !/^\[\w+\]$/.test(name));
    let from = ids.length;
    for (const [name, known] of words) groups.set(name, placed.slice(from, (from += known.length)));
    drawGroups();
    find(".map-word").value ||= points.find(({ id }) => id === state.ids[state.chosen ?? -1])?.name ?? groups.values().next().value?.[0]?.name ?? points.at(-1)?.name ?? "";
    await showNearest(model, plane);
  }

  /** @type {import("../projection.js").Plane | null} */ let kept = null;

  async function showNearest(/** @type {any} */ model, /** @type {import("../projection.js").Plane | null} */ plane = kept) {
    kept = plane;
    const { state } = store, current = ++asked, word = find(".map-word").value.trim();
    if (!word || !plane || state.model !== model) return;
    const id = await idOf(state.vocabulary, word);
    if (current !== asked) return;
    find(".nearest").replaceChildren();
    find(".nearest-line").textContent = id === undefined || id >= model.config.vocabSize ? text("map_unknown", { word }) : text("map_nearest", { word });
    near = [];
    if (id === undefined || id >= model.config.vocabSize) return drawMap();
    const found = await model.nearest(id, NEAREST), ids = [id, ...found.map((/** @type {any} */ each) => each.id)];
    const labels = await state.vocabulary.labels(ids), rows = await model.embeddings(ids);
    if (current !== asked) return;
    near = project(rows, plane).map((at, i) => ({ id: ids[i], name: nameOfToken(state, text, ids[i], labels[i]), at }));
    find(".nearest").replaceChildren(...found.map((/** @type {any} */ { cosine }, /** @type {number} */ i) => {
      const item = make("li"), row = makeButton("bar", "", () => choose(near[i + 1].name)), both = make("span", "both");
      both.append(makeBar(cosine));
      row.append(make("span", "bar-word", near[i + 1].name), both, make("span", "figure", text.fixed(cosine)));
      item.append(row);
      return item;
    }));
    drawMap();
  }

  function choose(/** @type {string} */ word) {
    find(".map-word").value = word;
    showNearest(store.state.model);
  }

  function drawGroups() {
    find(".groups").replaceChildren(...[...groups.keys()].map((name) => {
      const button = makeButton("tool", text(`map_${name}`), () => {
        group = group === name ? "" : name;
        drawGroups();
        drawMap();
      });
      button.setAttribute("aria-pressed", String(group === name));
      button.dataset.group = name;
      return button;
    }));
    find(".groups").querySelector(`[data-group="${group}"]`)?.focus();
  }

  const scale = () => {
    const all = [...points, ...[...groups.values()].flat(), ...near], edge = (/** @type {0 | 1} */ axis) => {
      const values = all.map(({ at }) => at[axis]);
      return [Math.min(...values), Math.max(...values)];
    };
    const [[left, right], [top, bottom]] = [edge(0), edge(1)], { width, height } = canvas;
    return (/** @type {[number, number]} */ [x, y]) => [
      width * (0.04 + (0.9 * (x - left)) / (right - left || 1)), height * (0.05 + (0.9 * (y - top)) / (bottom - top || 1)),
    ];
  };

  function drawMap() {
    if (!points.length || !canvas.clientWidth) return;
    const ratio = devicePixelRatio, style = getComputedStyle(canvas), color = (/** @type {string} */ name) => style.getPropertyValue(name);
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    const context = canvas.getContext("2d"), place = scale();
    const dot = (/** @type {Point} */ { at }, /** @type {number} */ size) => {
      const [x, y] = place(at);
      context.beginPath();
      context.arc(x, y, size * ratio, 0, 7);
      context.fill();
    };
    context.fillStyle = color("--bar-before");
    for (const point of points) dot(point, 1.4);
    const marked = group ? (groups.get(group) ?? []) : near;
    context.font = `${13 * ratio}px ${style.fontFamily}`;
    /** @type {number[][]} */ const taken = [];
    marked.forEach((point, i) => {
      context.fillStyle = color(i === 0 && !group ? "--wine-ink" : "--ink");
      dot(point, 3);
      const [x, y] = place(point.at), wide = context.measureText(point.name).width;
      const left = Math.min(x + 6 * ratio, canvas.width - wide), top = freeLine(taken, left, y, wide, 14 * ratio);
      taken.push([left, top, wide]);
      context.fillText(point.name, left, top + 4 * ratio);
    });
  }

  /** @returns {Point | undefined} the point under the pointer */
  function pointUnder(/** @type {MouseEvent} */ { clientX, clientY }) {
    if (!points.length) return undefined;
    const frame = canvas.getBoundingClientRect(), place = scale(), ratio = canvas.width / frame.width;
    const distance = (/** @type {Point} */ { at }) => {
      const [x, y] = place(at);
      return Math.hypot(x / ratio - clientX + frame.left, y / ratio - clientY + frame.top);
    };
    const closest = points.reduce((best, point) => (distance(point) < distance(best) ? point : best));
    return distance(closest) < 12 ? closest : undefined;
  }

  canvas.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    const point = pointUnder(event), frame = element.getBoundingClientRect();
    tip.hidden = !point;
    if (!point) return;
    tip.textContent = point.name;
    tip.style.left = `${event.clientX - frame.left}px`;
    tip.style.top = `${event.clientY - frame.top}px`;
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const point = pointUnder(event);
    if (point) choose(point.name);
  });
  find("form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    showNearest(store.state.model);
  });
  new ResizeObserver(drawMap).observe(canvas);
  store.watch(["tab", "model"], (state) => {
    if (state.tab !== "map") return;
    if (drawn !== state.model) prepare(state);
    else drawMap();
  });
}

/**
 * @param {any} vocabulary
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
 * @param {any} vocabulary
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
