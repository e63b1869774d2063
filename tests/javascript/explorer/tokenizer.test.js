// TOKENIZERS=FOLDER node --test tokenizer.test.js: each tokenizer in FOLDER does what its texts.json says.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ModelFiles } from "../../../space/explorer/model_files.js";
import { loadTokenizer, wordLevelTokenizer } from "../../../space/explorer/tokenizer.js";
import { dropped, json } from "./local_files.js";

const folders = readdirSync(process.env.TOKENIZERS).map((name) => join(process.env.TOKENIZERS, name));

for (const folder of folders) {
  test(folder, async () => {
    const { encoded, decoded, pieces } = json(folder, "texts.json");
    const { tokenizer } = await loadTokenizer(new ModelFiles(dropped(folder)));
    assert.equal(tokenizer.unit, folder.endsWith("characters") ? "character" : "word");
    assert.equal(tokenizer.wordLevel, tokenizer.unit === "word");
    for (const { text, ids } of encoded) assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
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

test("a text that spells a special token has it only without split_special_tokens", () => {
  const [folder] = folders, file = json(folder, "tokenizer.json");
  const eos = file.added_tokens.at(-1);
  assert.ok(!wordLevelTokenizer(file, { split_special_tokens: true }).encode("a [EOS]").includes(eos.id));
  assert.ok(wordLevelTokenizer(file, {}).encode("a [EOS]").includes(eos.id));
});

test("a tokenizer.json that wine_gpt did not write is not taken for wine_gpt's", () => {
  const [folder] = folders;
  const changes = [
    (file) => (file.decoder.decoders[4].pattern.Regex = "(a+)+$"),
    (file) => (file.decoder.decoders[2].pattern.Regex += "|(a+)+$"),
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
    assert.equal(wordLevelTokenizer(file, {}), undefined, change.toString());
  }
  for (const file of [null, 3, [], "x", {}, { model: null }]) assert.equal(wordLevelTokenizer(file, {}), undefined);
});

test("without its library another tokenizer is named in one line, and ids still work", async () => {
  const [folder] = folders, file = json(folder, "tokenizer.json");
  const other = new File([JSON.stringify({ ...file, pre_tokenizer: { type: "ByteLevel" } })], "tokenizer.json");
  const { tokenizer, problem } = await loadTokenizer(new ModelFiles({ files: [other] }));
  assert.equal(tokenizer, null);
  assert.match(problem, /^this model's tokenizer is not wine_gpt's, and the library .* can't be loaded from cdn/);
});
