/** The text: its words, what they are colored by, and the buttons that change it. */
import { longestSpan } from "../copy_check.js";
import { copy, finder, make, showTips } from "../dom.js";
import { attentionRow, meanSurprise, surprisesOf } from "../inner_values.js";
import { nameOfWord } from "../names.js";
import { isMark, plainText, shownWords } from "../shown_words.js";
import { drawAgain, nextWord, stop, writeOn } from "../writing.js";

/** Views in which the words' shades are the attention of the chosen step. */
const SHOW_ATTENTION = new Set(["next", "heads", "scores"]);
/** Nats at which the shade of a surprise is darkest. */
const DARKEST = 8;

/**
 * @param {HTMLElement} element
 * @param {import("../store.js").Store} store
 * @param {import("../i18n.js").Text} text
 * @param {{address: () => string}} actions
 */
export function mount(element, store, text, { address }) {
  const find = finder(element), box = find(".words");
  /** @type {HTMLElement[]} */ let spans = [];
  /** @type {string[]} */ let drawn = [];

  function drawWords(/** @type {import("../store.js").State} */ state) {
    const { bare, header } = shownWords(state, text);
    const kinds = state.words.map((_, at) => `${at < header} ${at < state.given} ${state.words[at].known} ${bare[at]} ${state.hiddenFrom === null || at < state.hiddenFrom}`);
    let same = 0;
    while (same < Math.min(kinds.length, drawn.length) && kinds[same] === drawn[same]) same++;
    // while a text is written, only its new words are drawn
    if (same < drawn.length || !same) {
      same = 0;
      spans = [];
      box.replaceChildren();
      find(".eyebrow").replaceChildren();
    }
    for (let at = same; at < kinds.length; at++) spans.push(addWord(state, at, bare, at < header));
    drawn = kinds;
    if (!kinds.length) box.replaceChildren(make("span", "quiet", text("empty")));
    find(".eyebrow").hidden = !header;
    const first = Math.min(state.given, spans.length - 1);
    spans.forEach((span, at) => { span.tabIndex = at === (state.chosen ?? first) && at > 0 ? 0 : -1; });
  }

  function addWord(/** @type {import("../store.js").State} */ state, /** @type {number} */ at, /** @type {string[]} */ bare, /** @type {boolean} */ inHeader) {
    const { words, given, hiddenFrom, raw, writing } = state;
    const parent = inHeader ? find(".eyebrow") : box;
    const hidden = hiddenFrom !== null && at >= hiddenFrom;
    const word = make(at && !hidden ? "button" : "span", "word", hidden ? (at === hiddenFrom ? "?" : "") : bare[at]);
    word.dataset.position = at;
    if (at && !hidden) word.type = "button";
    if (at && !hidden && isMark(bare[at])) word.setAttribute("aria-label", nameOfWord(state, text, at));
    word.classList.toggle("given", at < given);
    word.classList.toggle("mark", isMark(bare[at]));
    word.classList.toggle("unknown", !words[at].known);
    word.classList.toggle("new", writing !== null && at >= given);
    const last = parent.lastElementChild;
    const breaks = words[at].text.includes("\n") && !inHeader;
    if (breaks) parent.append(make("br"));
    // a comma stays on the line of the word before it
    if (last && !breaks && (bare[at] === "·" || (!raw && !isMark(bare[at]) && !/^\s/.test(words[at].text)))) {
      if (bare[at] === "·") last.append(" ");
      last.append(word);
    } else {
      const unbroken = make("span", "unbroken");
      unbroken.append(word);
      if (last) parent.append(" ");
      parent.append(unbroken);
    }
    return word;
  }

  function drawShades(/** @type {import("../store.js").State} */ state) {
    const { chosen, tab, inner, surprise, layer, head, hiddenFrom } = state;
    const nats = surprise && inner ? surprisesOf(state) : null;
    const attends = !nats && inner && chosen !== null && SHOW_ATTENTION.has(tab);
    const weights = attends ? attentionRow(state, chosen - 1, layer, head) : null;
    const highest = weights ? Math.max(...weights) : 1;
    spans.forEach((span, at) => {
      const strength = hiddenFrom !== null && at >= hiddenFrom ? 0 : nats ? (at ? Math.min(nats[at - 1] / DARKEST, 1) : 0) : weights && at < weights.length ? weights[at] / highest : 0;
      span.style.setProperty("--strength", String(strength));
      span.classList.toggle("chosen", at === chosen);
      span.classList.toggle("later", chosen !== null && !nats && at > chosen);
      if (at === chosen) span.setAttribute("aria-current", "true");
      else span.removeAttribute("aria-current");
      if (chosen !== null) span.tabIndex = at === chosen ? 0 : -1;
    });
    find(".surprise-legend").hidden = !nats;
    if (nats) find(".surprise-legend").textContent = legendOf(state, nats);
  }

  function legendOf(/** @type {import("../store.js").State} */ { given }, /** @type {Float32Array} */ nats) {
    const mean = meanSurprise(nats, given);
    return text("surprise_legend", { mean: text.fixed(mean), perplexity: text.number(Math.exp(mean)) });
  }

  function tipOf(/** @type {number} */ position) {
    const { state } = store, { words, chosen, inner, surprise, tab, layer, head, hiddenFrom, ids, raw } = state;
    if (position >= words.length || (hiddenFrom !== null && position >= hiddenFrom)) return "";
    if (!words[position].known) return text("unknown");
    const name = nameOfWord(state, text, position);
    if (surprise && inner && position) {
      const nats = surprisesOf(state)[position - 1];
      return `${name}: ${text("nats", { nats: text.fixed(nats) })} · ${text.percent(Math.exp(-nats))}`;
    }
    if (chosen !== null && inner && position < chosen && SHOW_ATTENTION.has(tab)) {
      return `${name}: ${text("of_attention", { weight: text.percent(attentionRow(state, chosen - 1, layer, head)[position]) })}`;
    }
    return raw ? `${words[position].label}: ${text("id", { id: ids[position] })}` : "";
  }

  function drawState(/** @type {import("../store.js").State} */ { writing, words, ids, given, reason, model, hiddenFrom, switchedOff }) {
    element.dataset.state = writing ? "writing" : "written";
    const ended = reason === "end", full = model !== null && ids.length >= model.config.positions;
    find(".stop").hidden = !writing;
    for (const [name, disabled] of /** @type {[string, boolean][]} */ ([
      ["next-word", ended || full], ["draw-again", ids.length <= given], ["write-on", ended || full || !words.length],
    ])) {
      find(`.${name}`).disabled = !model || disabled || hiddenFrom !== null;
    }
    for (const name of ["copy", "link"]) find(`.${name}`).disabled = !words.length || hiddenFrom !== null;
    const count = text.count(ids.length - given - (ended && ids.length > given ? 1 : 0));
    const key = writing ? "writing" : reason === "stopped" ? "stopped" : reason === "length" ? "written_cut" : "written";
    find(".status").textContent = !words.length || hiddenFrom !== null ? "" : writing ? text("writing") : `${text(key, { count })} ${text("hint")}`;
    const unknown = [...new Set(words.filter(({ known }) => !known).map((word) => word.text.trim()))];
    find(".unknown-note").textContent = unknown.length ? text("unknown_note", { words: unknown.join(" ") }) : "";
    find(".off-note").textContent = switchedOff.length ? text("off_note", { count: switchedOff.length }) : "";
  }

  function choose(/** @type {number} */ position) {
    const { words, writing, hiddenFrom } = store.state;
    if (writing || position < 1 || position >= words.length || (hiddenFrom !== null && position >= hiddenFrom)) return;
    store.set({ chosen: position });
  }

  element.addEventListener("click", (event) => {
    const word = /** @type {HTMLElement} */ (event.target).closest("button.word");
    if (word) choose(Number(/** @type {HTMLElement} */ (word).dataset.position));
  });
  element.addEventListener("keydown", (event) => {
    const word = /** @type {HTMLElement} */ (event.target).closest(".word");
    if (!word || event.ctrlKey || event.metaKey || event.altKey) return;
    const here = Number(/** @type {HTMLElement} */ (word).dataset.position);
    const there = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: store.state.given, End: spans.length - 1 }[event.key];
    if (event.key === "Escape") store.set({ chosen: null });
    if (there === undefined || !spans[there]) return;
    event.preventDefault();
    if (!event.shiftKey) choose(there);
    spans[there].focus();
  });
  for (const [name, action] of /** @type {[string, (store: any) => void][]} */ ([
    ["next-word", nextWord], ["draw-again", drawAgain], ["write-on", (each) => writeOn(each)], ["stop", stop],
  ])) find(`.${name}`).addEventListener("click", () => action(store));
  find(".surprise").addEventListener("change", () => store.set({ surprise: find(".surprise").checked }));
  find(".raw").addEventListener("change", () => store.set({ raw: find(".raw").checked }));
  find(".copy").addEventListener("click", () => copyFrom(find(".copy"), "copy", plainText(store.state, text)));
  find(".link").addEventListener("click", () => copyFrom(find(".link"), "link", address()));

  async function copyFrom(/** @type {HTMLElement} */ button, /** @type {string} */ key, /** @type {string} */ content) {
    await copy(content);
    button.textContent = text("copied");
    setTimeout(() => { button.textContent = text(key); }, 1500);
  }

  function drawCopies(/** @type {import("../store.js").State} */ state) {
    const { copyIndex, writing, words, given, ids, model } = state, from = Math.max(given, shownWords(state, text).header);
    const last = model?.generation.ends.includes(ids.at(-1) ?? -1) ? ids.length - 1 : ids.length, count = last - from;
    // only what the model wrote: a visitor may type a training text
    const found = copyIndex && !writing && count > 0 ? longestSpan(copyIndex, words.slice(from, last).map(({ label }) => label)) : null;
    spans.forEach((span, at) => span.classList.toggle("copied", !!found && at >= from + found.start && at < from + found.start + found.length));
    find(".copies").hidden = !copyIndex || writing !== null || count < 1 || state.hiddenFrom !== null;
    if (!copyIndex) return;
    const figures = { reviews: text.count(copyIndex.reviews), n: copyIndex.n, sure: 2 * copyIndex.n - 1 };
    find(".copies-found").textContent = found ? text("copies_some", { ...figures, length: found.length, words: count, margin: copyIndex.n - 1 }) : text("copies_none", figures);
    find(".copies-info").textContent = text("copies_info", figures);
  }

  showTips(element, tipOf);
  store.watch(["words", "given", "raw", "hiddenFrom"], drawWords);
  store.watch(["words", "chosen", "tab", "inner", "surprise", "layer", "head", "raw", "hiddenFrom"], drawShades);
  store.watch(["words", "writing", "copyIndex", "raw", "hiddenFrom"], drawCopies);
  store.watch(["words", "writing", "reason", "given", "model", "hiddenFrom", "switchedOff"], drawState);
  store.watch(["raw"], ({ raw }) => {
    find(".raw").checked = raw;
    element.classList.toggle("as-is", raw);
  });
  store.watch(["surprise"], ({ surprise }) => { find(".surprise").checked = surprise; });
}
