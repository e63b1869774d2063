/** The page's language, its texts and its numbers. */
import { en } from "./texts/en.js";
import { es } from "./texts/es.js";

/** @type {Record<string, Record<string, string>>} */
const TEXTS = { en, es };

/**
 * @typedef {object} Formats
 * @property {string} language
 * @property {"word" | "character" | "token"} unit what the texts call the model's tokens
 * @property {(value: number) => string} count a whole number
 * @property {(value: number) => string} number three significant digits
 * @property {(fraction: number) => string} percent one digit
 * @property {(value: number, digits?: number) => string} fixed
 * @typedef {((key: string, values?: Record<string, string | number>) => string) & Formats} Text
 */

/**
 * @param {string | null} wanted from the link
 * @param {readonly string[]} preferred the browser's
 * @returns {string}
 */
export function chooseLanguage(wanted, preferred) {
  const tags = [wanted ?? "", ...preferred].map((tag) => tag.slice(0, 2).toLowerCase());
  return tags.find((tag) => Object.hasOwn(TEXTS, tag)) ?? "en";
}

/** What the model's tokens are, in the order in which a text has a form for each, "{word|character|token}". */
const UNITS = /** @type {const} */ (["word", "character", "token"]);

/**
 * @param {string} language
 * @returns {Text} text(key, values) is a text with values for its {names}, and its forms for the tokens of `text.unit`
 */
export function makeText(language) {
  const text = (/** @type {string} */ key, /** @type {Record<string, string | number>} */ values = {}) => {
    const texts = TEXTS[language], unit = texts[`unit_${made.unit}`], units = texts[`units_${made.unit}`];
    const all = /** @type {Record<string, string | number>} */ ({ unit, units, Unit: capitalized(unit), Units: capitalized(units), ...values });
    return texts[key].replace(/\{([^{}]+)\}/g, (whole, content) => {
      const forms = content.split("|"), form = forms[Math.min(UNITS.indexOf(made.unit), forms.length - 1)];
      return forms.length > 1 ? form : String(all[content] ?? whole);
    });
  };
  const format = (/** @type {Intl.NumberFormatOptions} */ options) => {
    const formatter = new Intl.NumberFormat(language, options);
    return (/** @type {number} */ value) => formatter.format(value);
  };
  const oneDigit = format({ style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const made = Object.assign(text, {
    language, unit: /** @type {typeof UNITS[number]} */ ("word"),
    count: format({ maximumFractionDigits: 0 }),
    number: format({ maximumSignificantDigits: 3 }),
    percent: (/** @type {number} */ fraction) => (fraction > 0 && fraction < 0.0005 ? `<\u2009${oneDigit(0.001)}` : oneDigit(fraction)),
    fixed: (/** @type {number} */ value, digits = 2) => format({ minimumFractionDigits: digits, maximumFractionDigits: digits, signDisplay: "negative" })(value),
  });
  return made;
}

/** @param {string} word */
function capitalized(word) {
  return word[0].toUpperCase() + word.slice(1);
}

/**
 * Set the text of elements with data-text and the label of those with data-label.
 * @param {ParentNode} root
 * @param {Text} text
 */
export function translate(root, text) {
  for (const each of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-text]"))) {
    each.textContent = text(/** @type {string} */ (each.dataset.text));
  }
  for (const each of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-label]"))) {
    each.setAttribute("aria-label", text(/** @type {string} */ (each.dataset.label)));
  }
}
