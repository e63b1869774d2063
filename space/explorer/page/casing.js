/** Capitalize sentences, because wine_gpt's words are lower case. */

const SENTENCE_END = new Set([".", "!", "?"]);

/**
 * @param {string[]} words each with its leading space
 * @param {number} header how many come before the running text; each of them gets a capital
 * @returns {string[]}
 */
export function withCapitals(words, header) {
  let begins = true;
  return words.map((word, position) => {
    if (position < header) return title(word);
    const bare = word.trim();
    const shown = begins || bare === "i" ? title(word) : word;
    if (SENTENCE_END.has(bare)) {
      // a period after one letter, as in U.S., ends no sentence
      begins = position > 0 && words[position - 1].trim().length > 1;
    } else if (/[\p{L}\p{N}]/u.test(bare)) begins = false;
    return shown;
  });
}

/** @param {string} word */
function title(word) {
  return word.replace(/^(\s*)(.)/u, (_, space, first) => space + first.toUpperCase());
}
