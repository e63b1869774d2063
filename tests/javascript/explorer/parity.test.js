// MODELS=FOLDER node --test parity.test.js: each model in FOLDER/org computes what its reference.json says.
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { loadModel } from "../../../space/explorer/gpt2.js";
import { dropped, json } from "./local_files.js";
import { problems } from "./parity.js";

const models = join(process.env.MODELS, "org");
for (const name of readdirSync(models).filter((name) => existsSync(join(models, name, "reference.json")))) {
  test(name, async () => {
    const model = await loadModel(dropped(join(models, name)));
    assert.deepEqual(await problems(model, json(join(models, name), "reference.json")), []);
  });
}
