/** What each token adds to a decoded text. */

/**
 * @param {Pick<import("./tokenizer.js").TextTokenizer, "decode">} tokenizer
 * @param {ArrayLike<number>} ids
 * @param {number} [from]
 * @returns {string[]} what each id from an index on adds to the decoded text
 */
export function piecesOf(tokenizer, ids, from = 0) {
  const all = Array.from(ids);
  // a character's bytes may be in several tokens: the last of them gets the character
  const textUpTo = (/** @type {number} */ end) => tokenizer.decode(all.slice(0, end)).replace(/\ufffd+$/, "");
  let length = from ? textUpTo(from).length : 0;
  return all.slice(from).map((_, at) => {
    const text = textUpTo(from + at + 1), piece = text.slice(length);
    length = Math.max(length, text.length);
    return piece;
  });
}
