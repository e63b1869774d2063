// What both node and the browser check of a model: its inner values and its greedy texts against transformers'.
const TOLERANCE = 1e-4;

const flat = (values) => (ArrayBuffer.isView(values) ? Array.from(values) : values.flatMap(flat));

function difference(found, expected) {
  const values = flat(found);
  if (values.length !== expected.length) return Infinity;
  return values.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
}

/** Return what differs, in words; `model` is a GPT2 or a RemoteModel. */
export async function problems(model, reference) {
  const { ids, texts = [], lens, without_head: withoutHead, ...inner } = reference;
  const found = await model.forward(ids), wrong = [];
  const check = (name, values, expected) => {
    const most = difference(values, expected);
    if (!(most <= TOLERANCE)) wrong.push(`${name} differ by ${most}`);
  };
  for (const name of Object.keys(inner)) check(name, found[name], inner[name]);
  const vocabulary = found.logits.length / ids.length;
  check("next", await model.next(ids), inner.logits.slice(-vocabulary));
  const other = [...ids.slice(0, 5), 3, 1];
  check("next with a cache", await model.next(other), Array.from((await model.forward(other)).logits.slice(-vocabulary)));
  if (lens) check("lens", await model.lens(found.hidden[1]), lens);
  const last = model.config.heads - 1;
  if (withoutHead) check("without a head", (await model.forward(ids, { switchedOff: [[0, last]] })).logits, withoutHead);
  for (const { prompt, added } of texts) {
    const text = await model.generate(prompt, { temperature: 0, maxNewTokens: 8 });
    if (text.ids.join() !== added.join()) wrong.push(`after ${prompt}: ${text.ids}, not ${added}`);
  }
  return wrong;
}
