/** All heads at a glance, one of them large, and heads switched off. */
import { finder, make, makeButton } from "../dom.js";
import { meanSurprise, surprisesOf } from "../inner_values.js";
import { surprises } from "../../sampling.js";
import { nameOfWord } from "../names.js";
import { write } from "../writing.js";

/** @typedef {[number, number]} Head layer and head */

const isSame = (/** @type {Head} */ one, /** @type {Head} */ other) => one[0] === other[0] && one[1] === other[1];

/**
 * @param {HTMLElement} element
 * @param {import("../store.js").Store} store
 * @param {import("../i18n.js").Text} text
 */
export function mount(element, store, text) {
  const find = finder(element), large = find(".head-large"), tip = find(".tip");
  /** @type {{ids: number[], loss: number} | null} the text's mean surprise with all heads */ let whole = null;
  /** @type {{ids: number[], losses: Map<string, number>}} without one head each */ let alone = { ids: [], losses: new Map() };
  let measuring = false;

  const shownHead = () => /** @type {Head} */ ([store.state.layer ?? 0, store.state.head ?? 0]);

  function drawGallery(/** @type {import("../store.js").State} */ state) {
    const { inner, model, ids, switchedOff, tab } = state;
    find(".ask").hidden = ids.length > 1;
    find(".content").hidden = ids.length < 2;
    if (!inner || !model || tab !== "heads") return;
    const { layers, heads } = model.config;
    const focused = /** @type {HTMLElement} */ (document.activeElement)?.dataset?.key;
    find(".head-grid").style.setProperty("--heads", String(heads));
    find(".head-grid").replaceChildren(...Array.from({ length: layers * heads }, (_, at) => {
      const own = /** @type {Head} */ ([Math.floor(at / heads), at % heads]);
      const isOff = switchedOff.some((each) => isSame(each, own));
      const button = makeButton("head-button", "", () => store.set({ layer: own[0], head: own[1] }));
      const canvas = make("canvas");
      paint(canvas, inner.attentions[own[0]][own[1]], ids.length);
      button.dataset.key = own.join(".");
      button.classList.toggle("off", isOff);
      button.setAttribute("aria-pressed", String(isSame(own, shownHead())));
      button.setAttribute("aria-label", text(isOff ? "head_name_off" : "head_name", { layer: own[0], head: own[1] }));
      button.append(canvas, make("span", "head-label", `${own[0]}.${own[1]}`), make("span", "head-effect", effectOf(own)));
      return button;
    }));
    if (focused) find(`[data-key="${focused}"]`)?.focus();
    drawLarge(state);
    drawLoss(state);
  }

  function effectOf(/** @type {Head} */ own) {
    const loss = alone.ids === store.state.ids ? alone.losses.get(own.join(".")) : undefined;
    return loss === undefined || !whole ? "" : signed(loss - whole.loss);
  }

  const signed = (/** @type {number} */ change) => `${change < 0 ? "−" : "+"}${text.fixed(Math.abs(change), 3)}`;

  function drawLarge(/** @type {import("../store.js").State} */ { inner, ids, chosen, switchedOff }) {
    if (!inner) return;
    const [layer, head] = shownHead(), isOff = switchedOff.some((each) => isSame(each, [layer, head]));
    paint(large, inner.attentions[layer][head], ids.length, chosen === null ? null : chosen - 1);
    const name = text(isOff ? "head_name_off" : "head_name", { layer, head });
    find(".head-name").textContent = name;
    large.setAttribute("aria-label", text("head_large", { name }));
    find(".switch").textContent = text(isOff ? "switch_on" : "switch_off");
    find(".switch").setAttribute("aria-pressed", String(isOff));
    find(".all-on").disabled = !switchedOff.length;
  }

  async function drawLoss(/** @type {import("../store.js").State} */ state) {
    const { ids, given, model, switchedOff, inner } = state;
    if (!model || !inner) return;
    if (!switchedOff.length) whole = { ids, loss: meanSurprise(surprisesOf(state), given) };
    else if (whole?.ids !== ids) {
      const { logits } = await model.forward(ids);
      if (store.state.inner !== inner) return;
      whole = { ids, loss: meanSurprise(surprises(logits, ids), given) };
    }
    const loss = meanSurprise(surprisesOf(state), given), { loss: before } = /** @type {any} */ (whole);
    find(".head-loss").textContent = switchedOff.length
      ? text("loss_off", { before: text.fixed(before, 3), after: text.fixed(loss, 3), change: signed(loss - before), count: switchedOff.length })
      : text("loss_on", { before: text.fixed(before, 3) });
  }

  /** Measure the text's surprise without each head in turn. */
  async function measure() {
    const { model, ids, given } = store.state;
    if (!model || measuring) return;
    measuring = true;
    alone = { ids, losses: new Map() };
    const { layers, heads } = model.config;
    whole = { ids, loss: meanSurprise(surprises((await model.forward(ids)).logits, ids), given) };
    for (let at = 0; at < layers * heads && store.state.ids === ids && store.state.tab === "heads"; at++) {
      const own = /** @type {Head} */ ([Math.floor(at / heads), at % heads]);
      const { logits } = await model.forward(ids, { switchedOff: [own] });
      alone.losses.set(own.join("."), meanSurprise(surprises(logits, ids), given));
      const label = find(`[data-key="${own.join(".")}"] .head-effect`);
      if (label && store.state.ids === ids) label.textContent = effectOf(own);
    }
    measuring = false;
  }

  function toggle() {
    const own = shownHead(), { switchedOff } = store.state, kept = switchedOff.filter((each) => !isSame(each, own));
    store.set({ layer: own[0], head: own[1], switchedOff: kept.length < switchedOff.length ? kept : [...switchedOff, own], edited: true });
  }

  /** @returns {[number, number] | null} row and column of the large triangle under the pointer */
  function cellUnder(/** @type {MouseEvent} */ { clientX, clientY }) {
    const { left, top, width, height } = large.getBoundingClientRect(), count = store.state.ids.length;
    const [row, column] = [Math.floor(((clientY - top) / height) * count), Math.floor(((clientX - left) / width) * count)];
    return row >= 0 && row < count && column >= 0 && column <= row ? [row, column] : null;
  }

  large.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    const { state } = store, cell = cellUnder(event);
    tip.hidden = !cell || !state.inner;
    if (!cell || !state.inner) return;
    const [row, column] = cell, [layer, head] = shownHead(), frame = element.getBoundingClientRect();
    const weight = state.inner.attentions[layer][head][row * state.ids.length + column];
    tip.textContent = text("head_cell", { from: nameOfWord(state, text, row), to: nameOfWord(state, text, column), weight: text.percent(weight) });
    const half = tip.offsetWidth / 2;
    tip.style.left = `${Math.min(Math.max(event.clientX - frame.left, half + 4), frame.width - half - 4)}px`;
    tip.style.top = `${event.clientY - frame.top}px`;
  });
  large.addEventListener("pointerleave", () => { tip.hidden = true; });
  large.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const cell = cellUnder(event);
    if (cell && cell[0] + 1 < store.state.ids.length) store.set({ chosen: cell[0] + 1 });
  });
  find(".switch").addEventListener("click", toggle);
  find(".all-on").addEventListener("click", () => store.set({ switchedOff: [], edited: true }));
  find(".measure").addEventListener("click", measure);
  find(".write-without").addEventListener("click", () => {
    // the same seed, so that only the heads change the text
    store.set({ seedIsGiven: true });
    write(store);
  });
  store.watch(["inner", "tab", "layer", "head", "words"], drawGallery);
  store.watch(["chosen"], (state) => { if (state.tab === "heads" && state.inner) drawLarge(state); });
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
  const color = getComputedStyle(canvas).getPropertyValue("--wine").trim().split(" ").map(Number);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const [red, green, blue] = color.length === 3 && canvas.isConnected ? color : dark ? [226, 84, 134] : [138, 28, 69];
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
