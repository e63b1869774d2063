/** The controls: prompt, settings and model. */
import { finder, scrollToTop, setBounds } from "../dom.js";
import { BOUNDS } from "../store.js";
import { form } from "../template.js";
import { write } from "../writing.js";

/**
 * @param {HTMLElement} element
 * @param {import("../store.js").Store} store
 * @param {import("../i18n.js").Text} text
 * @param {{load: (name: string) => void, loadFiles: (files: File[]) => void}} actions
 */
export function mount(element, store, text, { load, loadFiles }) {
  const find = finder(element);
  const [prompt, length, seed] = [find(".prompt"), find(".length"), find(".seed")];

  setBounds(length, BOUNDS.length);
  setBounds(seed, BOUNDS.seed);
  find("form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!store.state.model) return;
    write(store);
    showText();
  });
  find("form").addEventListener("invalid", () => { find(".settings").open = true; }, true);
  prompt.addEventListener("input", () => store.set({ prompt: prompt.value }));
  prompt.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    // a prompt is one line for the model, and Shift+Enter still breaks a line
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    find("form").requestSubmit();
  });
  length.addEventListener("change", () => {
    if (length.checkValidity()) store.set({ settings: { ...store.state.settings, length: length.valueAsNumber }, edited: true });
  });
  seed.addEventListener("change", () => {
    if (seed.checkValidity()) store.set({ settings: { ...store.state.settings, seed: seed.valueAsNumber }, seedIsGiven: true, edited: true });
  });
  find(".model-form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    if (find(".model-input").value.trim()) load(find(".model-input").value);
  });
  find(".files").addEventListener("change", () => loadFiles([...find(".files").files]));

  store.watch(["prompt"], (state) => { if (prompt.value !== state.prompt) prompt.value = state.prompt; });
  store.watch(["problem"], ({ problem, model }) => { if (problem && !model) find(".other-model").open = true; });
  store.watch(["settings"], ({ settings }) => {
    length.value = settings.length;
    seed.value = settings.seed;
  });
  store.watch(["model", "template"], ({ model, template }) => {
    for (const each of find("form").querySelectorAll("button, textarea")) each.disabled = !model;
    if (model) length.max = model.config.positions;
    const words = form(template);
    find(".hint").textContent = model?.tokenizerProblem ? text("prompt_ids", { problem: model.tokenizerProblem })
      : words ? text("prompt_form", { form: words }) : "";
    const ignored = model?.generation.ignored ?? [];
    find(".not-applied").textContent = ignored.length ? text("not_applied", { names: ignored.join(", ") }) : "";
  });
}

/** Scroll to the text where it is below the screen, as on a phone. */
function showText() {
  const card = /** @type {HTMLElement} */ (document.querySelector(".text-card"));
  if (card.getBoundingClientRect().top > innerHeight / 2) scrollToTop(card);
}
