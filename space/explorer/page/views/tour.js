/** The tour: eight steps from a text to its next word, which act on the live model and name the class's notebook. */
import { finder, scrollToTop } from "../dom.js";
import { headerOf } from "../shown_words.js";

/** @typedef {import("../store.js").State} State */

/**
 * What each step sets, and the step of the notebook that it stands for (README.md, "From the notebook to the package").
 * @type {{name: string, notebook: string, show: Partial<State>}[]}
 */
const STEPS = [
  { name: "ids", notebook: "pad_punctuation, TextVectorization", show: { raw: true, tab: "next", chosen: null } },
  { name: "embedding", notebook: "TokenAndPositionEmbedding", show: { tab: "map" } },
  { name: "scores", notebook: "causal_attention_mask, MultiHeadAttention", show: { tab: "scores", layer: 0, head: 0 } },
  { name: "heads", notebook: "TransformerBlock", show: { tab: "heads", layer: 0, head: 0 } },
  { name: "layers", notebook: "TransformerBlock, Dense(softmax)", show: { tab: "lens" } },
  { name: "distribution", notebook: "print_probs", show: { tab: "next", layer: null, head: null } },
  { name: "draw", notebook: "TextGenerator.sample_from", show: { tab: "next" } },
  { name: "loss", notebook: "gpt.fit, SparseCategoricalCrossentropy", show: { tab: "guess", surprise: true, chosen: null } },
];

/**
 * @param {HTMLElement} element
 * @param {import("../store.js").Store} store
 * @param {import("../i18n.js").Text} text
 */
export function mount(element, store, text) {
  const find = finder(element), begin = /** @type {HTMLButtonElement} */ (document.querySelector(".begin-tour"));

  function go(/** @type {number | null} */ step) {
    if (step === null) {
      store.set({ tour: null, raw: false, surprise: false });
      begin.focus();
      return;
    }
    const { ids, chosen } = store.state, { show } = STEPS[step];
    // a word of the running text with some words before it
    const word = chosen ?? Math.min(headerOf(store.state) + 4, ids.length - 1);
    store.set({ tour: step, raw: false, surprise: false, hiddenFrom: null, ...(word > 0 ? { chosen: word } : {}), ...show });
    scrollToTop(document.querySelector(show.raw || show.surprise ? ".text-card" : ".tabs"));
    find(".tour-title").focus({ preventScroll: true });
  }

  begin.addEventListener("click", () => go(0));
  find(".tour-back").addEventListener("click", () => go(/** @type {number} */ (store.state.tour) - 1));
  find(".tour-next").addEventListener("click", () => {
    const next = /** @type {number} */ (store.state.tour) + 1;
    go(next < STEPS.length ? next : null);
  });
  find(".tour-end").addEventListener("click", () => go(null));
  element.addEventListener("keydown", ({ key }) => { if (key === "Escape") go(null); });
  store.watch(["tour"], ({ tour }) => {
    element.hidden = tour === null;
    if (tour === null) return;
    const { name, notebook } = STEPS[tour];
    find(".tour-title").textContent = text("tour_step", { step: tour + 1, steps: STEPS.length, title: text(`tour_${name}`) });
    find(".tour-text").textContent = text(`tour_${name}_text`);
    find(".tour-notebook").textContent = text("tour_notebook", { step: notebook });
    find(".tour-back").disabled = tour === 0;
    find(".tour-next").textContent = text(tour === STEPS.length - 1 ? "tour_finish" : "tour_next");
  });
  store.watch(["model", "words", "writing"], ({ model, words, writing }) => { begin.disabled = !model || words.length < 3 || writing !== null; });
}
