// MODELS=FOLDER node --test parity.test.js: each model in FOLDER/org computes what its reference.json says.
import assert from "node:assert/strict";
import { existsSync, readdirSync, statSync } from "node:fs";
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

for (const name of ["tiny", "float16", "bfloat16", "shards"]) {
  test(`the progress of loading ${name} ends at its files' bytes`, async () => {
    const folder = join(models, name), files = readdirSync(folder).filter((file) => file.endsWith(".safetensors"));
    const size = files.reduce((sum, file) => sum + statSync(join(folder, file)).size, 0);
    /** @type {{loaded: number, total: number}} */ let last;
    await loadModel(dropped(folder), { onProgress: (progress) => { last = progress; } });
    assert.equal(last.loaded, last.total);
    // the files have headers, too
    assert.ok(last.total < size && last.total > 0.9 * size, `${last.total} of ${size}`);
  });
}
