/** The tabs: which view of the text is open. */
import { mount as compare } from "./compare.js";
import { mount as epochs } from "./epochs.js";
import { mount as guess } from "./guess.js";
import { mount as heads } from "./heads.js";
import { mount as lens } from "./lens.js";
import { mount as map } from "./map.js";
import { mount as next } from "./next.js";
import { mount as scores } from "./scores.js";

/** @type {Record<string, (element: HTMLElement, store: import("../store.js").Store, text: import("../i18n.js").Text) => void>} */
const VIEWS = { next, guess, lens, heads, scores, map, compare, epochs };

export const TABS = Object.keys(VIEWS);

/**
 * @param {HTMLElement} element contains a list of tabs and a panel data-view="NAME" for each view
 * @param {import("../store.js").Store} store
 * @param {import("../i18n.js").Text} text
 */
export function mount(element, store, text) {
  const tabs = [.../** @type {NodeListOf<HTMLElement>} */ (element.querySelectorAll("[role=tab]"))];
  const panel = (/** @type {string} */ name) => /** @type {HTMLElement} */ (element.querySelector(`[data-view=${name}]`));
  const names = tabs.map((tab) => /** @type {string} */ (tab.dataset.tab));
  names.forEach((name, at) => {
    panel(name).setAttribute("role", "tabpanel");
    panel(name).setAttribute("aria-labelledby", (tabs[at].id = `tab-${name}`));
    tabs[at].addEventListener("click", () => store.set({ tab: name }));
    VIEWS[name](panel(name), store, text);
  });
  element.querySelector("[role=tablist]")?.addEventListener("keydown", (event) => {
    const { key } = /** @type {KeyboardEvent} */ (event), at = names.indexOf(store.state.tab);
    const there = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[key];
    if (there === undefined) return;
    event.preventDefault();
    const next = (there + tabs.length) % tabs.length;
    store.set({ tab: names[next] });
    tabs[next].focus();
  });
  store.watch(["tab"], ({ tab }) => {
    names.forEach((name, at) => {
      panel(name).hidden = name !== tab;
      tabs[at].setAttribute("aria-selected", String(name === tab));
      tabs[at].tabIndex = name === tab ? 0 : -1;
    });
  });
  store.watch(["model", "words"], ({ model }) => { element.hidden = !model; });
}
