/** Which hosts the page and its workers may ask: the page's own, the Hub, the tokenizers' CDN, and that of the link's model. */
import { HUB } from "../model_files.js";
import { LIBRARY } from "../other_tokenizer.js";

/** The Hub redirects to these. */
const HUB_HOSTS = [HUB, "https://*.huggingface.co", "https://*.hf.co"];
/** @type {string[]} origins beside the page's own that models may come from */
let origins = [];

/**
 * Narrow the Content-Security-Policy of index.html, which allows every host because a link may name any. It holds until
 * the page is loaded again, and for the workers that are started later.
 * @param {import("../model_files.js").Source | null} source of the link or of settings.json
 */
export function limitRequests(source) {
  origins = [HUB, ...(source?.url ? [new URL(source.url).origin] : [])];
  const policy = document.createElement("meta");
  policy.httpEquiv = "Content-Security-Policy";
  policy.content = `connect-src 'self' ${[...HUB_HOSTS, ...origins, LIBRARY].join(" ")}`;
  document.head.append(policy);
}

/**
 * Whether a source may be read, or the page must be loaded again with a link that names it.
 * @param {import("../model_files.js").Source} source
 */
export function isAllowed({ hub, url }) {
  const needed = hub ? HUB : url && new URL(url).origin;
  return !needed || needed === location.origin || origins.includes(needed);
}
