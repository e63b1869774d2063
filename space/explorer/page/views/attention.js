/** The list of the earlier words that a step attends to most; two views have one. */
import { fillRow, make, makeItem } from "../dom.js";
import { attentionRow } from "../inner_values.js";
import { nameOfWord } from "../names.js";

const SHOWN = 6;

/**
 * @param {HTMLElement} list
 * @param {import("../store.js").ComputedState} state whose `inner`, `layer` and `head` give the attention
 * @param {import("../i18n.js").Text} text
 * @param {number} position of the word that the step predicts
 */
export function drawAttention(list, state, text, position) {
  const weights = attentionRow(state, position - 1, state.layer, state.head);
  const order = Array.from(weights, (_, at) => at).sort((one, other) => weights[other] - weights[one]).slice(0, SHOWN);
  list.replaceChildren(...order.map((at) => {
    const row = make("div", "bar");
    fillRow(row, nameOfWord(state, text, at), [[weights[at] / weights[order[0]], "weight"]], [text.percent(weights[at])]);
    return makeItem(row);
  }));
}
