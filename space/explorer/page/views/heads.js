/** All heads at a glance, one of them large, and heads switched off. */
import { finder, make, makeButton, placeTip } from "../dom.js";
import { meanSurprise, surprisesOf } from "../inner_values.js";
import { surprises } from "../../sampling.js";
import { nameOfWord } from "../names.js";
import { isComputed } from "../store.js";
import { write } from "../writing.js";

/**
 * @typedef {import("../store.js").State} State
 * @typedef {import("../store.js").ComputedState} ComputedState
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../i18n.js").Text} Text
 * @typedef {ReturnType<typeof finder>} Find
 * @typedef {[number, number]} Head layer and head
 */

/**
 * @typedef {object} Losses the mean surprise of a text, in nats
 * @property {{ids: number[], loss: number} | null} whole with all heads
 * @property {{ids: number[], byHead: Map<string, number>}} without without one head each, by keyOf(head)
 */

const isSame = (/** @type {Head} */ one, /** @type {Head} */ other) => one[0] === other[0] && one[1] === other[1];
const isOff = (/** @type {State} */ { switchedOff }, /** @type {Head} */ head) => switchedOff.some((each) => isSame(each, head));
const keyOf = (/** @type {Head} */ head) => head.join(".");
const shownHead = (/** @type {State} */ { layer, head }) => /** @type {Head} */ ([layer ?? 0, head ?? 0]);
const allHeads = (/** @type {number} */ layers, /** @type {number} */ heads) =>
  Array.from({ length: layers * heads }, (_, at) => /** @type {Head} */ ([Math.floor(at / heads), at % heads]));

/** @returns {string} a change with its sign */
function signed(/** @type {number} */ change, /** @type {Text} */ text) {
  return `${change < 0 ? "−" : "+"}${text.fixed(Math.abs(change), 3)}`;
}

/** @returns {string} */
function nameOf(/** @type {State} */ state, /** @type {Text} */ text, /** @type {Head} */ head) {
  return text(isOff(state, head) ? "head_name_off" : "head_name", { layer: head[0], head: head[1] });
}

/**
 * @param {HTMLElement} element
 * @param {Store} store
 * @param {Text} text
 */
export function mount(element, store, text) {
  const find = finder(element);
  /** @type {Losses} */ const losses = { whole: null, without: { ids: [], byHead: new Map() } };

  find(".switch").addEventListener("click", () => toggle(store));
  find(".all-on").addEventListener("click", () => store.set({ switchedOff: [], edited: true }));
  find(".write-without").addEventListener("click", () => {
    // the same seed, so that only the heads change the text
    store.set({ seedIsGiven: true });
    write(store);
  });
  mountMeasure(find, store, text, losses);
  mountCells(element, store, text);
  store.watch(["inner", "tab", "words"], (state) => {
    find(".ask").hidden = state.ids.length > 1;
    find(".content").hidden = state.ids.length < 2;
    if (!isComputed(state) || state.tab !== "heads") return;
    drawGallery(find, store, state, text, losses);
    markShown(find, state);
    drawLarge(find, state, text);
    drawLoss(find, store, state, text, losses);
  });
  store.watch(["chosen", "layer", "head"], (state) => {
    if (state.tab !== "heads" || !isComputed(state)) return;
    markShown(find, state);
    drawLarge(find, state, text);
  });
}

/** Switch the shown head off, or on again. */
function toggle(/** @type {Store} */ store) {
  const own = shownHead(store.state), { switchedOff } = store.state;
  const changed = isOff(store.state, own) ? switchedOff.filter((each) => !isSame(each, own)) : [...switchedOff, own];
  store.set({ layer: own[0], head: own[1], switchedOff: changed, edited: true });
}

/**
 * Draw a small triangle for each head.
 * @param {Find} find
 * @param {Store} store
 * @param {ComputedState} state
 * @param {Text} text
 * @param {Losses} losses
 */
function drawGallery(find, store, state, text, losses) {
  const { inner, model, ids } = state, { layers, heads } = model.config;
  const focused = /** @type {HTMLElement} */ (document.activeElement)?.dataset?.key;
  find(".head-grid").style.setProperty("--heads", String(heads));
  find(".head-grid").replaceChildren(...allHeads(layers, heads).map((own) => {
    const button = makeButton("head-button", "", () => store.set({ layer: own[0], head: own[1] })), canvas = make("canvas");
    paint(canvas, inner.attentions[own[0]][own[1]], ids.length);
    button.dataset.key = keyOf(own);
    button.classList.toggle("off", isOff(state, own));
    button.setAttribute("aria-label", nameOf(state, text, own));
    button.append(canvas, make("span", "head-label", keyOf(own)), make("span", "head-effect", effectOf(own, ids, text, losses)));
    return button;
  }));
  if (focused) find(`[data-key="${focused}"]`)?.focus();
}

/** Mark the button of the head that is shown large. */
function markShown(/** @type {Find} */ find, /** @type {State} */ state) {
  const own = keyOf(shownHead(state));
  for (const button of find(".head-grid").children) button.setAttribute("aria-pressed", String(button.dataset.key === own));
}

/** @returns {string} how much the text's surprise changes without a head, "" if it is not measured */
function effectOf(/** @type {Head} */ own, /** @type {number[]} */ ids, /** @type {Text} */ text, /** @type {Losses} */ { whole, without }) {
  const loss = without.ids === ids ? without.byHead.get(keyOf(own)) : undefined;
  return loss === undefined || !whole ? "" : signed(loss - whole.loss, text);
}

/**
 * Draw the shown head's triangle, with the chosen word's row marked.
 * @param {Find} find
 * @param {ComputedState} state
 * @param {Text} text
 */
function drawLarge(find, state, text) {
  const { inner, ids, chosen, switchedOff } = state, own = shownHead(state), name = nameOf(state, text, own);
  paint(find(".head-large"), inner.attentions[own[0]][own[1]], ids.length, chosen === null ? null : chosen - 1);
  find(".head-name").textContent = name;
  find(".head-large").setAttribute("aria-label", text("head_large", { name }));
  find(".switch").textContent = text(isOff(state, own) ? "switch_on" : "switch_off");
  find(".switch").setAttribute("aria-pressed", String(isOff(state, own)));
  find(".all-on").disabled = !switchedOff.length;
}

/**
 * Say the text's mean surprise, with all heads and without those that are off.
 * @param {Find} find
 * @param {Store} store
 * @param {ComputedState} state
 * @param {Text} text
 * @param {Losses} losses
 */
async function drawLoss(find, store, state, text, losses) {
  const { ids, given, model, switchedOff, inner } = state, loss = meanSurprise(surprisesOf(state), given);
  if (!switchedOff.length) losses.whole = { ids, loss };
  else if (losses.whole?.ids !== ids) {
    const { logits } = await model.forward(ids);
    if (store.state.inner !== inner) return;
    losses.whole = { ids, loss: meanSurprise(surprises(logits, ids), given) };
  }
  const before = losses.whole.loss, figures = { before: text.fixed(before, 3), after: text.fixed(loss, 3) };
  find(".head-loss").textContent = switchedOff.length
    ? text("loss_off", { ...figures, change: signed(loss - before, text), count: switchedOff.length })
    : text("loss_on", figures);
}

/**
 * The button that measures the text's surprise without each head in turn.
 * @param {Find} find
 * @param {Store} store
 * @param {Text} text
 * @param {Losses} losses
 */
function mountMeasure(find, store, text, losses) {
  let isMeasuring = false;

  async function measure(/** @type {import("../store.js").RemoteModel} */ model) {
    const { ids, given } = store.state, { layers, heads } = model.config;
    const lossOf = async (/** @type {Head[]} */ switchedOff) => meanSurprise(surprises((await model.forward(ids, { switchedOff })).logits, ids), given);
    losses.without = { ids, byHead: new Map() };
    losses.whole = { ids, loss: await lossOf([]) };
    for (const own of allHeads(layers, heads)) {
      if (store.state.ids !== ids || store.state.tab !== "heads") return;
      losses.without.byHead.set(keyOf(own), await lossOf([own]));
      const label = find(`[data-key="${keyOf(own)}"] .head-effect`);
      if (label && store.state.ids === ids) label.textContent = effectOf(own, ids, text, losses);
    }
  }

  find(".measure").addEventListener("click", async () => {
    const { model } = store.state;
    if (!model || isMeasuring) return;
    isMeasuring = true;
    try {
      await measure(model);
    } finally {
      isMeasuring = false;
    }
  });
}

/**
 * The large triangle's cells: a tip for the one under the pointer, and a click that chooses its row's word.
 * @param {HTMLElement} element
 * @param {Store} store
 * @param {Text} text
 */
function mountCells(element, store, text) {
  const find = finder(element), large = find(".head-large"), tip = find(".tip");

  /** @returns {[number, number] | null} row and column under the pointer */
  function cellUnder(/** @type {MouseEvent} */ { clientX, clientY }) {
    const { left, top, width, height } = large.getBoundingClientRect(), count = store.state.ids.length;
    const [row, column] = [Math.floor(((clientY - top) / height) * count), Math.floor(((clientX - left) / width) * count)];
    return row >= 0 && row < count && column >= 0 && column <= row ? [row, column] : null;
  }

  large.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    const { state } = store, cell = cellUnder(event);
    tip.hidden = !cell || !state.inner;
    if (!cell || !state.inner) return;
    const [row, column] = cell, [layer, head] = shownHead(state);
    const weight = text.percent(state.inner.attentions[layer][head][row * state.ids.length + column]);
    tip.textContent = text("head_cell", { from: nameOfWord(state, text, row), to: nameOfWord(state, text, column), weight });
    placeTip(tip, element, event.clientX, event.clientY);
  });
  large.addEventListener("pointerleave", () => { tip.hidden = true; });
  large.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const cell = cellUnder(event);
    if (cell && cell[0] + 1 < store.state.ids.length) store.set({ chosen: cell[0] + 1 });
  });
}

/**
 * Paint attention as a triangle: row i is what word i attends to, its darkest cell being its largest weight.
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} weights (count, count)
 * @param {number} count
 * @param {number | null} [marked] a row
 */
function paint(canvas, weights, count, marked = null) {
  canvas.width = canvas.height = count;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")), image = context.createImageData(count, count);
  // a canvas that is not yet on the page has no style of its own
  const color = getComputedStyle(document.documentElement).getPropertyValue("--wine").trim().split(" ").map(Number);
  const [red, green, blue] = color;
  for (let row = 0; row < count; row++) {
    let highest = 0;
    for (let column = 0; column <= row; column++) highest = Math.max(highest, weights[row * count + column]);
    for (let column = 0; column <= row; column++) {
      const cell = 4 * (row * count + column), strength = weights[row * count + column] / highest;
      image.data.set([red, green, blue, 255 * Math.min(1, (row === marked ? 0.25 : 0.06) + strength)], cell);
    }
  }
  context.putImageData(image, 0, 0);
}
