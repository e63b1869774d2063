/** Which model the page shows, and the optional files beside its weights. */
import { ModelError } from "../model_error.js";
import { ModelFiles, parseSource } from "../model_files.js";
import { loadRemoteModel } from "../remote_model.js";
import { idTokenizer } from "./id_tokenizer.js";
import { NO_TEMPLATE, parseTemplate } from "./template.js";

const SETTINGS = "settings.json";

/**
 * @typedef {import("../model_files.js").Source} Source
 * @typedef {object} Site what settings.json beside the page says, {"model": "org/name", "revision": …}
 * @property {string} [model] org/name, or an address that is relative to the page
 * @property {string} [revision]
 * @property {string} [language] language tag of the model's texts
 */

/** @typedef {Pick<import("./store.js").LoadedState, "model" | "vocabulary" | "name" | "source" | "template">} Loaded */

/** @returns {Promise<Site>} empty if the page has no settings.json */
export async function loadSite() {
  try {
    const response = await fetch(SETTINGS, { credentials: "omit" });
    const json = response.ok ? await response.json() : {};
    return typeof json === "object" && json !== null ? json : {};
  } catch {
    return {};
  }
}

/**
 * @param {string} search the page's query string
 * @param {Site} site
 * @returns {Source | null} null if neither the link nor the site names a model
 * @throws {ModelError} if the name is invalid
 */
export function chosenSource(search, { model, revision }) {
  const query = new URLSearchParams(search), named = query.get("model");
  const [name, version] = named ? [named, query.get("revision")] : [model, revision];
  if (typeof name !== "string") return null;
  return parseSource(name, typeof version === "string" ? version : undefined, document.baseURI);
}

/**
 * @param {Source} source
 * @param {{onProgress?: import("../weights.js").OnProgress, signal?: AbortSignal}} options
 * @returns {Promise<Loaded>}
 * @throws {ModelError}
 */
export async function loadAll(source, options) {
  const files = new ModelFiles(source, options.signal);
  const template = readTemplate(files);
  const model = await loadRemoteModel(source, options);
  return { model, vocabulary: model.tokenizer ?? idTokenizer, name: nameOf(source), source, template: await template };
}

/** @param {ModelFiles} files */
async function readTemplate(files) {
  try {
    return parseTemplate(await files.json("review_template.json", 1e5));
  } catch (error) {
    // the template is optional, so that a damaged one stops nothing, and another model ends the download
    if (files.signal?.aborted || error instanceof ModelError) return NO_TEMPLATE;
    throw error;
  }
}

/** @param {Source} source */
function nameOf({ hub, url, files }) {
  if (hub) return hub;
  if (url) return decodeURIComponent(new URL(url).pathname.split("/").filter(Boolean).at(-1) ?? new URL(url).host);
  return files?.find(({ webkitRelativePath }) => webkitRelativePath)?.webkitRelativePath.split("/")[0] || (files?.[0]?.name ?? "");
}
