// MODEL=FOLDER REFERENCE=FILE node --test text.test.js: the greedy texts after prompts are those of FILE.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { loadModel } from "../../../space/explorer/gpt2.js";
import { dropped } from "./local_files.js";

test("greedy texts", async () => {
  const model = await loadModel(dropped(process.env.MODEL)), { tokenizer } = model;
  for (const { prompt, continuation } of JSON.parse(readFileSync(process.env.REFERENCE, "utf8"))) {
    const { ids } = await model.generate(tokenizer.encode(prompt), { temperature: 0 });
    assert.equal(tokenizer.decode(ids), continuation, prompt);
  }
});
