// REFERENCE=FILE node --test sampling.test.js: distributions equal those of transformers' warpers in FILE.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { distribution, draw, surprises, uniformNumbers } from "../../../space/explorer/sampling.js";

const logits = Float32Array.from({ length: 1000 }, (_, i) => 3 * Math.sin(i * i));

test("temperature, top-k, top-p and suppressed tokens keep what transformers keeps", () => {
  for (const { logits, settings, probabilities } of JSON.parse(readFileSync(process.env.REFERENCE, "utf8"))) {
    const { ids, before, kept } = distribution(Float32Array.from(logits), settings);
    const found = new Float64Array(logits.length), sum = before.subarray(0, kept).reduce((total, value) => total + value, 0);
    for (let rank = 0; rank < kept; rank++) found[ids[rank]] = before[rank] / sum;
    const wrong = probabilities.filter((expected, id) => Math.abs(found[id] - expected) > 1e-6 || !found[id] !== !expected);
    assert.deepEqual(wrong, [], JSON.stringify(settings));
  }
});

test("the drawn token is the one whose interval contains the number", () => {
  const found = distribution(logits, { temperature: 0.9, topP: 0.8 });
  assert.equal(draw(found, 0), 0);
  assert.equal(draw(found, 1 - 2 ** -32), found.kept - 1);
  for (let rank = 0; rank < found.kept - 1; rank++) {
    assert.equal(draw(found, found.cumulative[rank]), rank + 1);
    assert.equal(draw(found, found.cumulative[rank] - 1e-12), rank);
  }
});

test("tokens are drawn as often as they are probable", () => {
  const found = distribution(logits.slice(0, 8)), uniform = uniformNumbers(5), count = 20000;
  const drawn = new Uint32Array(8);
  for (let i = 0; i < count; i++) drawn[draw(found, uniform())]++;
  found.before.forEach((probability, rank) => {
    const deviation = Math.sqrt(count * probability * (1 - probability));
    assert.ok(Math.abs(drawn[rank] - count * probability) < 4 * deviation, `rank ${rank}`);
  });
});

test("a seed determines its numbers, and seeds that differ give other numbers", () => {
  const numbers = (seed) => Array.from({ length: 5 }, uniformNumbers(seed));
  assert.deepEqual(numbers(7), numbers(7));
  const firsts = new Set([0, 1, 2, 7, -1, 2 ** 32, 2 ** 32 + 1, 2 ** 40].map((seed) => numbers(seed)[0]));
  assert.equal(firsts.size, 8);
  assert.ok(numbers(3).every((u) => u >= 0 && u < 1));
});

test("temperature 0 keeps the most probable token, and equal probabilities are in the order of ids", () => {
  assert.equal(distribution(logits, { temperature: 0 }).kept, 1);
  assert.deepEqual(Array.from(distribution(new Float32Array(4)).ids), [0, 1, 2, 3]);
  assert.equal(distribution(Float32Array.of(0, 1, 0), { temperature: 1e-9 }).kept, 1);
});

test("surprises are the negative logarithms of probabilities", () => {
  const nats = surprises(Float32Array.of(0, 0, Math.log(3), 0, 5, 5), [1, 0, 1]);
  assert.deepEqual(Array.from(nats, (value) => value.toFixed(4)), [Math.log(2).toFixed(4), Math.log(4).toFixed(4)]);
});

test("without a token to draw there is one line", () => {
  assert.throws(() => distribution(Float32Array.of(1, 2), { suppress: [0, 1] }), { name: "ModelError", message: /suppress fewer/ });
});
