/** The form of the model's texts, "prefix : field : … : running text", from review_template.json. */

/**
 * @typedef {object} Template
 * @property {string} prefix
 * @property {string[]} fields
 */

/** @type {Template} */
export const NO_TEMPLATE = { prefix: "", fields: [] };

/**
 * @param {unknown} json the parsed review_template.json, undefined if there is none
 * @returns {Template}
 */
export function parseTemplate(json) {
  const { prefix, fields } = /** @type {any} */ (json ?? {});
  const isText = (/** @type {unknown} */ value) => typeof value === "string" && value.length <= 200;
  const sound = isText(prefix) && Array.isArray(fields) && fields.length <= 50 && fields.every(isText);
  return sound ? { prefix, fields } : NO_TEMPLATE;
}

/**
 * @param {Template} template
 * @returns {string} the beginning of every text with the fields' names: "recipe : dish : …"; "" without a template
 */
export function form({ prefix, fields }) {
  const parts = [prefix, ...fields].filter(Boolean);
  return parts.length ? [...parts, "…"].join(" : ") : "";
}

/**
 * @param {Template} template
 * @param {{unit: string}} vocabulary tokens that are no words or characters keep capitals
 * @returns {string} what a visitor's first text begins with
 */
export function firstPrompt({ prefix }, { unit }) {
  const prompt = prefix ? `${prefix} :` : "";
  return unit === "token" ? prompt : prompt.toLowerCase();
}

/**
 * @param {Template} template
 * @param {string[]} words a text's words, without the start token
 * @returns {number} how many words come before the running text, 0 if the text does not begin with the prefix
 */
export function headerLength({ prefix, fields }, words) {
  const parts = prefix ? prefix.split(" : ").map((part) => part.trim()) : [];
  const separators = fields.length + parts.length;
  const start = parts.map((part) => `${part}:`).join("").toLowerCase().replaceAll(" ", "");
  const text = words.map((word) => word.trim().toLowerCase()).join("").slice(0, start.length);
  if (separators === 0 || !start.startsWith(text)) return 0;
  const colons = words.flatMap((word, position) => (word.trim() === ":" ? [position + 1] : []));
  return colons.length >= separators ? colons[separators - 1] : words.length;
}
