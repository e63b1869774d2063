// MODEL=FOLDER node --test hostile.test.js: damaged and hostile variants of a good model are one line each, at once.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { loadModel } from "../../../space/explorer/gpt2.js";
import { ModelFiles } from "../../../space/explorer/model_files.js";
import { loadCopyIndex } from "../../../space/explorer/page/copy_check.js";
import { json } from "./local_files.js";

const folder = process.env.MODEL;
const config = json(folder, "config.json"), weights = readFileSync(join(folder, "model.safetensors"));
const headerLength = Number(weights.readBigUInt64LE(0));
const header = JSON.parse(weights.subarray(8, 8 + headerLength));

/** Load the model with a changed config, header, header length or weights; files set to null are left out. */
async function load({ changed = {}, header: newHeader, length, bytes, files = {} }) {
  const text = Buffer.from(typeof newHeader === "string" ? newHeader : JSON.stringify(newHeader ?? header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(length ?? text.length));
  const content = {
    "config.json": JSON.stringify({ ...config, ...changed }),
    "model.safetensors": bytes ?? Buffer.concat([prefix, text, weights.subarray(8 + headerLength)]),
    ...files,
  };
  const present = Object.entries(content).filter(([, value]) => value !== null);
  return loadModel({ files: present.map(([name, value]) => new File([value], name)) });
}

const ENTRY = "transformer.wte.weight";
const entry = (changes) => ({ header: { ...header, [ENTRY]: { ...header[ENTRY], ...changes } } });
const without = ({ [ENTRY]: _, ...rest }) => rest;
const { data_offsets: [begin, end], shape } = header[ENTRY];

const REFUSED = {
  "a header longer than the file": [{ length: 2 ** 31 }, /header would have 2,147,483,648 bytes/],
  "a header of 2^64 - 1 bytes": [{ length: 2n ** 64n - 1n }, /header would have/],
  "a header that is no JSON": [{ header: "{" }, /header is not JSON/],
  "a header that is a list": [{ header: "[]" }, /header is no object/],
  "a header with an entry null": [{ header: { ...header, x: null } }, /entry of x is malformed/],
  "an empty file": [{ bytes: Buffer.alloc(0) }, /ends too early, after 0 bytes/],
  "a file cut in its tensors": [{ bytes: weights.subarray(0, weights.length - 100) }, /its header describes/],
  "a shape that the bytes contradict": [entry({ shape: [shape[0] * 2, shape[1]] }), /has the shape/],
  "a shape of another config": [entry({ shape: [shape[1], shape[0]] }), /config.json says/],
  "a shape of 2^60 elements": [entry({ shape: [2 ** 30, 2 ** 30] }), /has the shape|malformed/],
  "a negative shape": [entry({ shape: [-1, -1] }), /malformed/],
  "offsets beyond the file": [entry({ data_offsets: [begin + 2 ** 40, end + 2 ** 40] }), /its header describes|overlap/],
  "offsets that overlap": [{ header: { ...header, x: { dtype: "F32", shape: [1], data_offsets: [begin, begin + 4] } } }, /overlap/],
  "offsets backwards": [entry({ data_offsets: [end, begin] }), /malformed/],
  "a type that is not read": [entry({ dtype: "I8" }), /is of type I8; the explorer reads F32, F16 and BF16/],
  "a type named as a property of objects": [entry({ dtype: "constructor" }), /is of type constructor/],
  "a missing tensor": [{ header: without(header) }, /have no wte.weight/],
  "weights that are NaN": [{ bytes: Buffer.concat([weights.subarray(0, -4), Buffer.from([0, 0, 0xc0, 0x7f])]) }, /NaN or infinite/],
  "no weights": [{ files: { "model.safetensors": null } }, /no model.safetensors: the explorer reads no pickled weights/],
  "no config": [{ files: { "config.json": null } }, /no config.json/],
  "a config that is no JSON": [{ files: { "config.json": '{"n_embd": NaN}' } }, /config.json of what was dropped is not JSON/],
  "a config of 2 MB": [{ files: { "config.json": " ".repeat(2e6) } }, /config.json is larger than 1 MB/],
  "a value nested 200,000 times": [{ files: { "config.json": `{"model_type": ${"[".repeat(2e5)}${"]".repeat(2e5)}}` } }, /this model is a “an object”/],
  "a config that is a list": [{ files: { "config.json": "[]" } }, /must hold a JSON object/],
  "another kind of model": [{ changed: { model_type: "llama" } }, /runs GPT-2 models, and this model is a “llama”/],
  "another architecture": [{ changed: { architectures: ["GPT2ForSequenceClassification"] } }, /this model is a “GPT2ForSeq/],
  "a head that is no language model's": [{ changed: { add_cross_attention: true } }, /cross-attention/],
  "quantized weights": [{ changed: { quantization_config: { bits: 4 } } }, /quantized/],
  "an unknown activation": [{ changed: { activation_function: "prelu" } }, /no activation_function “prelu”; it has gelu/],
  "an activation named as a property of objects": [{ changed: { activation_function: "toString" } }, /no activation_function/],
  "an activation with line breaks": [{ changed: { activation_function: "a\nb\u2028c<img src=x>".repeat(20) } }, /“a b c<img/],
  "a width of 10^9": [{ changed: { n_embd: 1e9 } }, /n_embd must be a number from 1 to 65536/],
  "10^12 layers": [{ changed: { n_layer: 1e12 } }, /n_layer must be a number/],
  "too many parameters in all": [{ changed: { n_embd: 4096, n_head: 16, n_layer: 512 } }, /million parameters; the explorer runs at most/],
  "a vocabulary of 0": [{ changed: { vocab_size: 0 } }, /vocab_size must be a number from 1/],
  "half a layer": [{ changed: { n_layer: 1.5 } }, /n_layer must be a whole number/],
  "heads that do not divide the width": [{ changed: { n_head: 7 } }, /no multiple of n_head 7/],
  "an epsilon that is a text": [{ changed: { layer_norm_epsilon: "1e-5" } }, /layer_norm_epsilon must be a number/],
  "an epsilon below 0": [{ changed: { layer_norm_epsilon: -1 } }, /layer_norm_epsilon must be a number/],
  "a flag that is a text": [{ changed: { tie_word_embeddings: "no" } }, /tie_word_embeddings must be true or false/],
  "an untied model without a head": [{ changed: { tie_word_embeddings: false } }, /have no lm_head.weight/],
  "a temperature below 0": [{ files: { "generation_config.json": '{"temperature": -1}' } }, /generation_config.json: temperature/],
  "an index with paths": [{ files: { "model.safetensors": null, "model.safetensors.index.json": '{"weight_map": {"a": "../../x"}}' } }, /names no files/],
  "an index of a missing file": [{ files: { "model.safetensors": null, "model.safetensors.index.json": '{"weight_map": {"a": "b.safetensors"}}' } }, /no b.safetensors, which/],
  "an index that is a number": [{ files: { "model.safetensors": null, "model.safetensors.index.json": "3" } }, /names no files/],
};

for (const [name, [input, message]] of Object.entries(REFUSED)) {
  test(name, async () => {
    const start = performance.now();
    await assert.rejects(load(input), (error) => {
      assert.equal(error.name, "ModelError", error.stack);
      assert.match(error.message, message);
      assert.ok(!/[\r\n\u2028]/.test(error.message) && error.message.length < 400);
      return true;
    });
    assert.ok(performance.now() - start < 300_000);
  });
}

test("tensors and fields that a GPT-2 does not need are no fault", async () => {
  const buffer = { dtype: "BOOL", shape: [0], data_offsets: [weights.length - 8 - headerLength, weights.length - 8 - headerLength] };
  const model = await load({ header: { ...header, "transformer.h.0.attn.bias": buffer, __metadata__: { format: "pt" } }, changed: { unknown: 1 } });
  assert.equal(model.config.width, config.n_embd);
});

test("a damaged tokenizer is named, and ids still work", async () => {
  const problems = { "{": /tokenizer.json of what was dropped is not JSON/, "[]": /is not wine_gpt's/, [" ".repeat(51e6)]: /larger than 50 MB/ };
  for (const [content, problem] of Object.entries(problems)) {
    const model = await load({ files: { "tokenizer.json": content } });
    assert.equal(model.tokenizer, null);
    assert.match(model.tokenizerProblem, problem);
    assert.equal(model.next([1]).length, model.config.vocabSize);
  }
});

/** An index of copies with 64 bits and changes in its header. */
function copyIndex(changes = {}, settings = {}) {
  const index = JSON.stringify({ format: "wine_gpt.ngrams.v2", n: 2, hashes: 3, bits: 64, reviews: 5, ...settings });
  const content = { __metadata__: { index }, filter: { dtype: "U8", shape: [8], data_offsets: [0, 8] }, ...changes };
  const text = Buffer.from(JSON.stringify(content)), prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([prefix, text, Buffer.alloc(8)]);
}

test("an index of copies that is damaged is none", async () => {
  const filter = { dtype: "U8", shape: [8], data_offsets: [0, 8] };
  const read = (bytes) => loadCopyIndex(new ModelFiles({ files: [new File([bytes], "training_ngrams.safetensors")] }));
  const { n, reviews, filter: bytes } = await read(copyIndex());
  assert.deepEqual([n, reviews, bytes], [2, 5, new Uint8Array(8)]);
  const damaged = {
    "tensors that overlap": copyIndex({ filter: { ...filter, data_offsets: [0, 8] }, other: { ...filter, data_offsets: [4, 8], shape: [4] } }),
    "an entry without a shape": copyIndex({ filter: { ...filter, shape: undefined } }),
    "a filter that ends before the file": copyIndex({ filter: { ...filter, data_offsets: [0, 7], shape: [7] } }),
    "no filter": copyIndex({ filter: undefined }),
    "no metadata": copyIndex({ __metadata__: undefined }),
    "metadata that is null": copyIndex({ __metadata__: { index: "null" } }),
    "metadata that is no JSON": copyIndex({ __metadata__: { index: "{" } }),
    "more bits than bytes": copyIndex({}, { bits: 65 }),
    "a header longer than the file": Buffer.concat([Buffer.alloc(7, 255), copyIndex()]),
    "an empty file": Buffer.alloc(0),
  };
  for (const name in damaged) assert.equal(await read(damaged[name]), null, name);
});

test("the download of an index of copies that is too large ends", async () => {
  let isEnded = false;
  const endless = new ReadableStream({
    start: (controller) => controller.enqueue(new Uint8Array(copyIndex())),
    pull: (controller) => controller.enqueue(new Uint8Array(1e6)),
    cancel: () => { isEnded = true; },
  });
  const file = { name: "training_ngrams.safetensors", size: 1e9, slice: () => ({ stream: () => endless }) };
  assert.equal(await loadCopyIndex(new ModelFiles({ files: [file] })), null);
  assert.ok(isEnded);
});

test("ids and texts that the model can't take are one line", async () => {
  const model = await load({});
  const { positions, vocabSize } = model.config;
  assert.throws(() => model.forward([]), { name: "ModelError", message: /no token/ });
  for (const id of [-1, vocabSize, 1.5, NaN, "1", null]) assert.throws(() => model.next([id]), { name: "ModelError", message: /the model has no token/ });
  assert.throws(() => model.forward(new Uint32Array(positions + 1)), { name: "ModelError", message: /41 tokens; the model has 40 positions/ });
  for (const switchedOff of [[[2, 0]], [[0, 3]], [[-1, 0]], [[0.5, 0]], [["x", null]]]) {
    assert.throws(() => model.forward([1], { switchedOff }), { name: "ModelError", message: /the model has no head/ });
  }
  for (const settings of [{ temperature: NaN }, { temperature: -1 }, { topK: "5" }, { topP: null }, { maxNewTokens: -1 }, { seed: "x" }]) {
    await assert.rejects(model.generate([1], settings), { name: "ModelError", message: /must be a number/ });
  }
  assert.equal((await model.generate([1], { skip: 1e15, maxNewTokens: 1 })).ids.length, 1);
  const full = await model.generate(new Uint32Array(positions), { temperature: 1 });
  assert.deepEqual(full, { ids: [], reason: "length" });
});

test("weights too large for float32 give one line, not NaN", async () => {
  const large = Buffer.from(weights);
  for (let at = 8 + headerLength; at < large.length; at += 4) large.writeFloatLE(3e38, at);
  const model = await load({ bytes: large });
  assert.throws(() => model.forward([1, 2]), { name: "ModelError", message: /not finite/ });
});

test("settings of generation that the explorer lacks are named", async () => {
  const settings = { temperature: 0.7, top_k: 0, repetition_penalty: 1.2, num_beams: 1, suppress_tokens: [3, 1e9, "x"], eos_token_id: [5, 6] };
  const { generation } = await load({ files: { "generation_config.json": JSON.stringify(settings) } });
  assert.deepEqual(generation, { temperature: 0.7, topK: 0, topP: 1, suppress: [3], ends: [5, 6], bos: null, ignored: ["repetition_penalty"] });
});

test("a setting that is undefined is the model's own", async () => {
  const model = await load({ files: { "generation_config.json": '{"temperature": 0.5, "top_k": 3, "eos_token_id": []}' } });
  const own = await model.generate([1], { seed: 2 });
  assert.deepEqual(await model.generate([1], { seed: 2, temperature: undefined, topK: undefined }), own);
  assert.notDeepEqual(await model.generate([1], { seed: 2, temperature: 3, topK: 0 }), own);
  assert.equal(own.ids.length, model.config.positions - 1);
  assert.deepEqual(await model.generate([1], { maxNewTokens: 0 }), { ids: [], reason: "length" });
});
