/** The error whose message is one line for the visitor: what is wrong, where, and what to do. */
export class ModelError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "ModelError";
  }
}

/**
 * Shorten a string from a file for an error message: one line of printable characters.
 * @param {unknown} value
 * @returns {string}
 */
export function shown(value) {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? String(value));
  const line = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ");
  return line.length > 60 ? `${line.slice(0, 60)}…` : line;
}
