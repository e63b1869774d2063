// What a test runs in the page: each function loads a model in a worker and returns JSON.
import { parseSource } from "/explorer/model_files.js";
import { loadRemoteModel } from "/explorer/remote_model.js";
import { problems } from "./parity.js";

/** Return what a visitor reads, or "" if the model is loaded. */
export async function problem(source) {
  try {
    (await loadRemoteModel(source)).close();
    return "";
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}

/** Compare a model with the reference.json beside its files. */
export async function parity(source) {
  const [model, reference] = await Promise.all([loadRemoteModel(source), fetchReference(source)]);
  const wrong = await problems(model, reference);
  model.close();
  return wrong;
}

async function fetchReference({ hub, endpoint, url }) {
  const response = await fetch(hub ? `${endpoint}/${hub}/resolve/main/reference.json` : `${url}reference.json`);
  return response.json();
}

/** Load the files that were chosen in the page's input. */
export async function dropped({ ids }) {
  const files = Array.from(document.querySelector("input").files);
  const model = await loadRemoteModel({ files });
  const { logits } = await model.forward(ids);
  model.close();
  return Array.from(logits);
}

/** Stop a text that has begun; then end the worker while it writes. */
export async function stopped(source) {
  const model = await loadRemoteModel(source), controller = new AbortController(), steps = [];
  const text = model.generate([1], { temperature: 1, seed: 4, suppress: [100], signal: controller.signal }, (step) => steps.push(step));
  // now and not at a word, because the worker does not wait for this page and may have written all words by then
  controller.abort();
  const { ids, reason } = await text;
  const again = await model.generate([1], { temperature: 1, seed: 4, suppress: [100], maxNewTokens: 2 });
  const endless = model.generate([1], { suppress: [100] }).catch((error) => error.message);
  model.close();
  return { steps, ids, reason, again, closed: [await endless, await model.next([1]).catch((error) => error.message)] };
}

/** Stop a download after its first bytes. */
export async function stoppedDownload(source) {
  const controller = new AbortController();
  const loading = loadRemoteModel(source, { signal: controller.signal, onProgress: () => controller.abort() });
  return loading.then(() => "loaded", (error) => error.message);
}

export async function texts({ source, texts, ids }) {
  const model = await loadRemoteModel(source), { tokenizer } = model;
  const found = {
    unit: tokenizer?.unit,
    problem: model.tokenizerProblem,
    ids: await Promise.all(texts.map((text) => tokenizer.encode(text))),
    decoded: await Promise.all(ids.map((row) => tokenizer.decode(row))),
    pieces: await Promise.all(ids.map(async (row) => (await tokenizer.pieces(row)).join(""))),
    labels: await tokenizer.labels(ids[0]),
  };
  model.close();
  return found;
}

export const source = ({ text, revision }) => parseSource(text, revision, document.baseURI);
