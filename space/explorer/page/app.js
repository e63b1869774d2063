/**
 * The page's entry: choose and load the model, mount the views, keep the link.
 *
 * A view is a module views/NAME.js with `mount(element, store, text)`. Its element is the one with data-view="NAME" in
 * index.html, and it redraws from the store only (README.md beside this file).
 */
import { addressOf, parseAddress } from "./address.js";
import { ModelError } from "../model_error.js";
import { ModelFiles } from "../model_files.js";
import { ModelClosed } from "../remote_model.js";
import { loadCopyIndex } from "./copy_check.js";
import { filesOf } from "./dropped_files.js";
import { finder, say } from "./dom.js";
import { chooseLanguage, makeText, translate } from "./i18n.js";
import { keepInnerValues } from "./inner_values.js";
import { chosenSource, loadAll, loadSite } from "./model_source.js";
import { isAllowed, limitRequests } from "./policy.js";
import { bounded, emptyState, Store } from "./store.js";
import { firstPrompt } from "./template.js";
import { mount as mountTabs, TABS } from "./views/tabs.js";
import { mount as mountTour } from "./views/tour.js";
import { mount as mountText } from "./views/text.js";
import { mount as mountWrite } from "./views/write.js";
import { restore, write } from "./writing.js";

const text = makeText(chooseLanguage(new URLSearchParams(location.search).get("lang"), navigator.languages));
const store = new Store(emptyState());
const find = finder(document);
// the Gradio app shows this page in a frame; only a parent of the same origin has a frameElement
const inGradioApp = window.frameElement !== null;
/** Milliseconds from a change of the state to that of the page's address. */
const LINK_DELAY = 250;
/** @type {AbortController | undefined} */ let loading;

start();

async function start() {
  document.documentElement.lang = text.language;
  document.title = text("heading");
  if (inGradioApp) joinGradioApp();
  callTokensByTheirName();
  showProblems();
  linkLanguages();
  takeDroppedFiles();
  keepInnerValues(store);
  mountWrite(find("[data-view=write]"), store, text, { load: openModel, loadFiles: (files) => load({ files }, parseAddress("", TABS)) });
  mountText(find("[data-view=text]"), store, text, { address: () => addressOf(store.state, location.href) });
  mountTabs(find(".tabs"), store, text);
  mountTour(find("[data-view=tour]"), store, text);
  keepLink();
  find(".starting").remove();
  await loadFirst();
}

/** Leave out what the app around the page shows, and follow its theme, which an address of the app can choose. */
function joinGradioApp() {
  document.body.classList.add("framed");
  const { body } = parent.document;
  const follow = () => { find("link.dark").media = body.classList.contains("dark") ? "all" : "not all"; };
  follow();
  new MutationObserver(follow).observe(body, { attributeFilter: ["class"] });
}

async function loadFirst() {
  const site = await loadSite();
  for (const each of document.querySelectorAll(".words, .eyebrow")) each.setAttribute("lang", typeof site.language === "string" ? site.language : "");
  /** @type {import("../model_files.js").Source | null} */ let source = null;
  try {
    source = chosenSource(location.search, site);
  } catch (error) {
    store.set({ problem: /** @type {Error} */ (error) });
  }
  limitRequests(source);
  if (source) await load(source, parseAddress(location.search, TABS));
  else if (!store.state.problem) store.set({ problem: text("no_model") });
}

/** @param {string} name */
async function openModel(name) {
  const link = new URL(location.href), lang = link.searchParams.get("lang");
  link.search = "";
  link.searchParams.set("model", name.trim());
  if (lang) link.searchParams.set("lang", lang);
  try {
    const source = chosenSource(link.search, {});
    if (!source) return;
    if (!isAllowed(source)) return location.assign(link);
    history.replaceState(null, "", link);
    await load(source, parseAddress("", TABS));
  } catch (error) {
    store.set({ problem: /** @type {Error} */ (error) });
  }
}

/**
 * Load a model in place of the page's, and write or restore the link's text.
 * @param {import("../model_files.js").Source} source
 * @param {import("./address.js").Linked} linked
 */
async function load(source, linked) {
  loading?.abort();
  const controller = loading = new AbortController();
  const isCurrent = () => loading === controller;
  store.state.writing?.abort();
  store.state.model?.close();
  store.set({ ...emptyState(), source, loading: { loaded: 0, total: 0 }, tab: store.state.tab });
  try {
    const onProgress = (/** @type {{loaded: number, total: number}} */ progress) => { if (isCurrent()) store.set({ loading: progress }); };
    const loaded = await loadAll(source, { onProgress, signal: controller.signal });
    if (!isCurrent()) return loaded.model.close();
    // in the background, because the index can be larger than the model
    loadCopyIndex(new ModelFiles(source, controller.signal)).then((copyIndex) => { if (isCurrent()) store.set({ copyIndex }); });
    await begin(loaded, linked);
  } catch (error) {
    if (isCurrent()) store.set({ loading: null, problem: /** @type {Error} */ (error) });
  }
}

/**
 * @param {import("./model_source.js").Loaded} loaded
 * @param {import("./address.js").Linked} linked
 */
async function begin(loaded, { state, settings, written, word, ignored }) {
  const { model: { config, generation }, template, vocabulary } = loaded;
  const { temperature, topK, topP } = generation, length = Math.min(vocabulary.unit === "character" ? 750 : 150, config.positions);
  const known = (/** @type {number | null | undefined} */ index, /** @type {number} */ count) => (index != null && index < count ? index : null);
  store.set({
    ...loaded, loading: null, prompt: firstPrompt(template, vocabulary), ...state,
    // a model's own settings can be such as no link and no field has
    settings: bounded({ temperature, topK, topP, length, seed: 1, ...settings }), seedIsGiven: settings.seed !== undefined,
    layer: known(state.layer, config.layers), head: known(state.head, config.heads),
    switchedOff: (state.switchedOff ?? []).filter(([layer, head]) => layer < config.layers && head < config.heads),
  });
  if (written) await restore(store, written);
  else if (store.state.prompt || generation.bos !== null) await write(store);
  if (word !== undefined && word < store.state.ids.length) store.set({ chosen: word });
  // a link that was made with another model may have more ids
  const wrong = written?.some((id) => id >= config.vocabSize) ? [...ignored, "ids"] : ignored;
  if (wrong.length && !store.state.problem) store.set({ problem: text("link_bad", { names: wrong.join(", ") }) });
}

/** Fill in the page's texts, now and for each model; the first watcher, because the views' texts need the unit, too. */
function callTokensByTheirName() {
  store.watch(["model"], ({ vocabulary }) => {
    text.unit = vocabulary?.unit ?? "word";
    translate(document, text);
  });
}

function showProblems() {
  store.watch(["problem"], ({ problem }) => {
    say(find(".problem[role]"), problem);
    find(".problem[role]").hidden = !problem;
  });
  store.watch(["loading", "source"], ({ loading: progress, source }) => {
    find(".loading").hidden = !progress;
    if (!progress) return;
    const name = source?.hub ?? source?.url ?? text("own_files_name"), megabytes = (/** @type {number} */ bytes) => text.number(bytes / 1e6);
    const bar = find("progress");
    if (progress.total) {
      bar.max = progress.total;
      bar.value = progress.loaded;
    } else bar.removeAttribute("value");
    const parts = { name, loaded: megabytes(progress.loaded), total: megabytes(progress.total) };
    find(".loading-line").textContent = progress.total ? text("loading", parts) : text("loading_start", { name });
  });
  store.watch(["model", "name"], ({ model, name }) => {
    find(".model-name").textContent = name || "GPT-2";
    find(".about-model").textContent = model ? text("about_model", describe(name, model.config)) : "";
  });
  window.addEventListener("unhandledrejection", (event) => {
    const { reason } = event;
    // views leave a model's errors to the page
    if (reason instanceof ModelError) event.preventDefault();
    if (!(reason instanceof ModelClosed)) store.set({ problem: reason instanceof ModelError ? reason : text("failed", { message: reason?.message ?? String(reason) }) });
  });
  window.addEventListener("error", ({ message }) => store.set({ problem: text("failed", { message }) }));
}

/**
 * @param {string} name
 * @param {import("../gpt2_config.js").GPT2Config} config
 */
function describe(name, { layers, heads, width, vocabSize, parameters }) {
  return { name, layers, heads, width, vocabulary: text.count(vocabSize), parameters: text.count(parameters) };
}

function linkLanguages() {
  for (const each of document.querySelectorAll(".languages a")) {
    const link = /** @type {HTMLAnchorElement} */ (each);
    if (link.lang === text.language) link.setAttribute("aria-current", "true");
    link.addEventListener("click", () => {
      const here = new URL(store.state.begun === null ? location.href : addressOf(store.state, location.href));
      here.searchParams.set("lang", link.lang);
      link.href = here.href;
    });
  }
}

/** Keep the state in the page's address, so that a reload and the back button return to it. */
function keepLink() {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
  store.watch(["begun", "settings", "writing", "ids", "chosen", "tab", "layer", "head", "surprise", "switchedOff"], () => {
    clearTimeout(timer);
    // once the state is at rest, because browsers limit how often the address changes: Safari throws an error
    timer = setTimeout(updateLink, LINK_DELAY);
  });
}

function updateLink() {
  const { writing, begun } = store.state;
  if (writing || begun === null) return;
  const link = addressOf(store.state, location.href);
  if (link === location.href) return;
  history.replaceState(null, "", link);
  // a Space's page on the Hub is a frame, and the Hub copies its query string into the visitor's address bar
  if (parent !== window && !inGradioApp) parent.postMessage({ queryString: new URL(link).search.slice(1), hash: "" }, "https://huggingface.co");
}

function takeDroppedFiles() {
  // text is dragged into the prompt as into any other field
  const hasFiles = (/** @type {DragEvent} */ { dataTransfer }) => dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    load({ files: await filesOf(/** @type {DataTransfer} */ (event.dataTransfer)) }, parseAddress("", TABS));
  });
}
