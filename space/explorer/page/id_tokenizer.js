/** The tokenizer of a model without one: its words are its ids, "12 7 1056". */
import { ModelError } from "../model_error.js";

const join = (/** @type {ArrayLike<number>} */ ids) => Array.from(ids).join(" ");

/** @type {import("./store.js").Vocabulary} */
export const idTokenizer = {
  unit: "token",
  async encode(text) {
    return text.trim().split(/[\s,]+/).filter(Boolean).map((part) => {
      if (!/^\d{1,7}$/.test(part)) throw new ModelError(`“${part.slice(0, 20)}” is no id: this model has no tokenizer, so type numbers`);
      return Number(part);
    });
  },
  async split(text) {
    return (await this.encode(text)).map((id) => ({ id, text: ` ${id}`, known: true }));
  },
  async decode(ids) {
    return join(ids);
  },
  async pieces(ids, from = 0) {
    return Array.from(ids, (id) => ` ${id}`).slice(from);
  },
  async labels(ids) {
    return Array.from(ids, String);
  },
  async idOf(label) {
    return /^\d{1,7}$/.test(label) ? Number(label) : undefined;
  },
};
