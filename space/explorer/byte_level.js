/**
 * The characters that byte-level tokenizers, such as GPT-2's, write for bytes: printable ones stand for themselves, and
 * all others are U+0100 and those after it, so that a space is Ġ and a line break Ċ.
 */

const isPrintable = (/** @type {number} */ byte) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
const others = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !isPrintable(byte));
const CHARACTERS = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : 256 + others.indexOf(byte)));
const BYTES = new Map(CHARACTERS.map((character, byte) => [character, byte]));
const encoder = new TextEncoder();
// a byte order mark is a character of the text
const lossy = new TextDecoder("utf-8", { ignoreBOM: true }), strict = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

/** @returns {string[]} the character of each byte of a text in UTF-8 */
export function byteCharacters(/** @type {string} */ text) {
  return Array.from(encoder.encode(text), (byte) => CHARACTERS[byte]);
}

/** @returns {string} the text of tokens, with U+FFFD for bytes that are no whole character */
export function textOfTokens(/** @type {string[]} */ tokens) {
  return lossy.decode(Uint8Array.from(tokens.flatMap(bytesOf)));
}

/** @returns {string} the text of one token; the token itself if its bytes are no whole characters */
export function readable(/** @type {string} */ token) {
  if (![...token].every((character) => BYTES.has(character))) return token;
  try {
    return strict.decode(Uint8Array.from(bytesOf(token)));
  } catch {
    return token;
  }
}

/** @returns {number[]} the bytes that a token's characters stand for; its own in UTF-8 if one stands for none */
function bytesOf(/** @type {string} */ token) {
  const bytes = [...token].map((character) => BYTES.get(character));
  return bytes.includes(undefined) ? Array.from(encoder.encode(token)) : /** @type {number[]} */ (bytes);
}
