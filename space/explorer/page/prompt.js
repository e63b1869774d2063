/** What a tokenizer reads of a prompt; wine_gpt/generation/prompts.py has the same rule. */

/** The white space of Python's strip, which is not that of trim. */
const SPACE = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const AT_START = new RegExp(`^${SPACE}+`), AT_END = new RegExp(`(?<!${SPACE})${SPACE}+$`);

/**
 * @param {Pick<import("./store.js").Vocabulary, "encode" | "decode">} vocabulary
 * @param {string} prompt
 * @returns {Promise<string>} the prompt without the white space around it, but with final line breaks if the tokenizer keeps them
 */
export async function printedPrompt(vocabulary, prompt) {
  // a token of a text begins with the white space before it, so a prompt must not end with white space
  const text = prompt.replace(AT_END, ""), end = await vocabulary.decode(await vocabulary.encode(prompt.slice(text.length)));
  return text.replace(AT_START, "") + end.replace(/[^\n]/g, "");
}
