/**
 * Join words with natural spacing, exactly as the decoder that wine_gpt writes into tokenizer.json.
 *
 * wine_gpt/tokenizer/spacing.py, `natural_spacing`, has the same rules. A decoder with other rules is refused, so that a pattern
 * from a file is never executed.
 */

const OPENING_QUOTE = "\ue000", TEXT_COLON = "\ue001";
const BEFORE_OPENING_APOSTROPHE = (
  "the this these those their and or like than as is are was of in an to for from with by on at called named dubbed"
).split(" ");
const WORD_END = "(?: |\\z)";

/** The pattern of colons after the header: a count of colons, and the words that a text with a header begins with. */
const ANY = String.raw`(?:\.\*|\[\\s\\S\]\*)`;
const TEXT_COLONS = new RegExp(
  String.raw`^ :\(\?:\(\?<=\\A\(\?:\[\^:\]\*:\)\{(\d{1,3}),\}\)` +
    String.raw`(?:\|\(\?<!\\A((?:\\[^]|[^\\()[\]{}?*+|^$.])*)${ANY}\)\(\?<=\[\.,;!\?\]${ANY}\))?\)$`,
);
const OPENING_QUOTES = String.raw` "(?<=\A(?:[^"]*"[^"]*")*[^"]*")`;

/**
 * @param {boolean} lineBreaks whether a line break is a word
 * @returns {string} the pattern of the spaces to remove, in the decoder's dialect
 */
function removedSpaces(lineBreaks) {
  return [
    ...(lineBreaks ? [" (?=\\n)|(?<=\\n) "] : []),
    ` (?=[.,;!?)\\]}%\\"”’»${TEXT_COLON}])`,
    `(?<=[(\\[{$#${OPENING_QUOTE}]) `,
    ` (?=[-/])|(?<=/) |(?<=-) (?!(?<= light - | medium - )to${WORD_END})|(?<=[0-9]) (?=\\+)`,
    `${BEFORE_OPENING_APOSTROPHE.map((word) => `(?<! ${word})`).join("")} (?=')`,
    `(?<=') (?=(?:s|t|re|ve|ll|d|m|em)${WORD_END})|(?<=[^s ] ') `,
    BEFORE_OPENING_APOSTROPHE.map((word) => `(?<= ${word} ') `).join("|"),
    `(?<=[0-9] ,) (?=[0-9]{3}${WORD_END})`,
    `(?<=[0-9] \\.) (?=[0-9])|(?<=[ —][a-z] \\.) (?=[a-z]${WORD_END})`,
  ].join("|");
}

/**
 * Return the function that a tokenizer.json's decoder describes.
 * @param {any} decoder
 * @param {boolean} lineBreaks
 * @returns {((words: string[]) => string) | undefined} undefined if wine_gpt has not written the decoder
 */
export function naturalSpacing(decoder, lineBreaks) {
  const steps = decoder?.type === "Sequence" && Array.isArray(decoder.decoders) ? decoder.decoders : [];
  const colons = TEXT_COLONS.exec(steps[2]?.pattern?.Regex ?? "");
  if (!colons) return undefined;
  const [pattern, count, escaped] = colons, removed = removedSpaces(lineBreaks);
  const replace = (/** @type {object} */ found, /** @type {string} */ content) => ({ type: "Replace", pattern: found, content });
  const ours = [
    replace({ Regex: "\\A" }, " "),
    { type: "Fuse" },
    replace({ Regex: pattern }, ` ${TEXT_COLON}`),
    replace({ Regex: OPENING_QUOTES }, ` ${OPENING_QUOTE}`),
    replace({ Regex: removed }, ""),
    replace({ String: OPENING_QUOTE }, '"'),
    replace({ String: TEXT_COLON }, ":"),
  ];
  if (!same(steps, ours)) return undefined;
  const spaces = new RegExp(removed.replaceAll("\\z", "$"), "g");
  const header = { colons: Number(count), start: escaped?.replace(/\\([^])/g, "$1") };
  return (words) =>
    markOpeningQuotes(markTextColons(words.map((word) => ` ${word}`).join(""), header))
      .replace(spaces, "")
      .replaceAll(OPENING_QUOTE, '"')
      .replaceAll(TEXT_COLON, ":");
}

/**
 * Mark each colon of the running text: those after the header's, and without a header those after the first of . , ; ! ?
 * @param {string} text
 * @param {{colons: number, start: string | undefined}} header
 */
function markTextColons(text, { colons, start }) {
  const bare = start !== undefined && !text.startsWith(start);
  const punctuation = bare ? text.search(/[.,;!?]/) : -1;
  let count = 0;
  return text.replace(/ ?:/g, (found, offset) => {
    count++;
    const running = count >= colons || (punctuation >= 0 && punctuation < offset);
    return running && found.length > 1 ? ` ${TEXT_COLON}` : found;
  });
}

/** @param {string} text */
function markOpeningQuotes(text) {
  let count = 0;
  return text.replace(/ ?"/g, (found) => (count++ % 2 === 0 && found.length > 1 ? ` ${OPENING_QUOTE}` : found));
}

/**
 * Compare JSON values, whatever the order of their keys.
 * @param {unknown} one
 * @param {unknown} other
 * @returns {boolean}
 */
export function same(one, other) {
  if (typeof one !== "object" || typeof other !== "object" || !one || !other) return one === other;
  const values = Object.entries(one), others = new Map(Object.entries(other));
  return values.length === others.size && values.every(([key, value]) => others.has(key) && same(value, others.get(key)));
}
