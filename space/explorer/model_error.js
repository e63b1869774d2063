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
export function printable(value) {
  const line = asText(value).slice(0, 1000).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ");
  return line.length > 60 ? `${line.slice(0, 60)}…` : line;
}

/** @param {unknown} value */
function asText(value) {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null) return String(value);
  // nested deeply enough, a value can't be written without an overflow of the stack
  const flat = Array.isArray(value) && value.every((item) => typeof item !== "object");
  return flat ? `[${value.slice(0, 20).join(", ")}]` : "an object";
}
