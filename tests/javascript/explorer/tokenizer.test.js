// TOKENIZERS=FOLDER node --test tokenizer.test.js: each tokenizer in FOLDER does what its texts.json says.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ModelFiles } from "../../../space/explorer/model_files.js";
import { readable } from "../../../space/explorer/byte_level.js";
import { bytePairTokenizer } from "../../../space/explorer/byte_pair_tokenizer.js";
import { promptOf } from "../../../space/explorer/page/writing.js";
import { loadTokenizer, wordLevelTokenizer } from "../../../space/explorer/tokenizer.js";
import { dropped, json } from "./local_files.js";

const folders = readdirSync(process.env.TOKENIZERS).map((name) => join(process.env.TOKENIZERS, name));

for (const folder of folders) {
  test(folder, async () => {
    const { encoded, decoded, pieces, prompts } = json(folder, "texts.json");
    const { tokenizer } = await loadTokenizer(new ModelFiles(dropped(folder)));
    assert.equal(tokenizer.unit, { characters: "character", bpe: "token" }[folder.split("_").at(-1)] ?? "word");
    for (const { text, ids } of encoded) assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
    for (const { text, ids } of prompts) assert.deepEqual((await promptOf(tokenizer, null, text)).ids, ids, JSON.stringify(text));
    for (const { ids, text } of decoded) assert.equal(tokenizer.decode(ids), text);
    for (const { ids, pieces: parts } of pieces) assert.deepEqual(tokenizer.pieces(ids), parts);
  });
}

test("the words of a text as typed are the text, composed", async () => {
  const [folder] = folders;
  const { tokenizer } = await loadTokenizer(new ModelFiles(dropped(folder)));
  const text = "Wine Review : İZMİR's Cafe\u0301 quux";
  const words = tokenizer.split(text);
  assert.equal(words.map((word) => word.text).join(""), text.normalize("NFC"));
  assert.deepEqual(words.map((word) => word.text), ["Wine", " Review", " :", " İZMİR", "'", "s", " Café", " quux"]);
  assert.equal(words.at(-1).known, false);
});

test("a text that spells a special token of GPT-2 has it only without split_special_tokens", () => {
  const file = json(folders.find((name) => name.endsWith("gpt2_bpe")), "tokenizer.json"), [end] = file.added_tokens;
  const text = `a ${end.content}`;
  assert.ok(bytePairTokenizer(file, {}).encode(text).includes(end.id));
  assert.ok(!bytePairTokenizer(file, { split_special_tokens: true }).encode(text).includes(end.id));
});

test("a tokenizer.json that wine_gpt did not write is not taken for wine_gpt's", () => {
  const [folder] = folders;
  const changes = [
    (file) => (file.decoder.decoders[1].type = "Strip"),
    (file) => (file.decoder.decoders[2].pattern.Regex += "("),
    (file) => (file.pre_tokenizer.pattern.Regex = "(a+)+$"),
    (file) => (file.normalizer = { type: "Strip" }),
    (file) => (file.model.type = "BPE"),
    (file) => (file.model.unk_token = "[NONE]"),
    (file) => (file.post_processor.single = [{ Sequence: { id: "A" } }, ...file.post_processor.single]),
    (file) => (file.added_tokens[0].lstrip = true),
    (file) => delete file.decoder,
  ];
  for (const change of changes) {
    const file = json(folder, "tokenizer.json");
    change(file);
    assert.equal(wordLevelTokenizer(file), undefined, change.toString());
  }
  for (const file of [null, 3, [], "x", {}, { model: null }]) assert.equal(wordLevelTokenizer(file), undefined);
});

test("byte-pair encoding that does more than wine_gpt's and GPT-2's is not taken for theirs", () => {
  const folder = folders.find((name) => name.endsWith("spaced_bpe"));
  const changes = [
    (file) => (file.pre_tokenizer.add_prefix_space = true),
    (file) => (file.pre_tokenizer = { type: "Split", pattern: { Regex: "(a+)+$" }, behavior: "Isolated", invert: false }),
    (file) => (file.normalizer.normalizers[1].pattern.Regex = "(a+)+$"),
    (file) => (file.normalizer = { type: "Lowercase" }),
    (file) => (file.model.type = "Unigram"),
    (file) => (file.model.dropout = 0.1),
    (file) => (file.model.byte_fallback = true),
    (file) => (file.model.merges = 3),
    (file) => file.model.merges.push(["a", 7]),
    (file) => file.model.merges.push(["a", "no such token"]),
    (file) => (file.decoder = { type: "Fuse" }),
    (file) => (file.post_processor = { type: "BertProcessing" }),
    (file) => delete file.decoder,
  ];
  assert.ok(bytePairTokenizer(json(folder, "tokenizer.json"), {}));
  for (const change of changes) {
    const file = json(folder, "tokenizer.json");
    change(file);
    assert.equal(bytePairTokenizer(file, {}), undefined, change.toString());
  }
  for (const file of [null, 3, [], "x", {}, { model: null }, { model: {}, pre_tokenizer: {} }]) assert.equal(bytePairTokenizer(file, {}), undefined);
});

test("a damaged vocabulary is one line, and the page's limit of the tokenizer's time ends", async () => {
  const file = json(folders[0], "tokenizer.json");
  for (const vocab of [{}, { a: -1 }, { a: "1" }]) {
    const damaged = new File([JSON.stringify({ ...file, model: { ...file.model, vocab } })], "tokenizer.json"), busy = [];
    const { tokenizer, problem } = await loadTokenizer(new ModelFiles({ files: [damaged] }), (isBusy) => busy.push(isBusy));
    assert.equal(tokenizer, null);
    assert.equal(problem, "tokenizer.json has no valid vocabulary");
    assert.deepEqual(busy, [true, false]);
  }
});

test("a token's bytes are shown as text where they are whole characters", () => {
  assert.deepEqual(["Ġwine", "Ċ", "RosÃ©", "Ã", "▁a", "日", ""].map(readable), [" wine", "\n", "Rosé", "Ã", "▁a", "日", ""]);
});

test("without its library another tokenizer is named in one line, and ids still work", async () => {
  const [folder] = folders, file = json(folder, "tokenizer.json");
  const other = new File([JSON.stringify({ ...file, pre_tokenizer: { type: "ByteLevel" } })], "tokenizer.json");
  const { tokenizer, problem } = await loadTokenizer(new ModelFiles({ files: [other] }));
  assert.equal(tokenizer, null);
  assert.match(problem, /^this model's tokenizer is not wine_gpt's, and the library .* can't be loaded from cdn/);
});
