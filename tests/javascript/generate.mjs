// node generate.mjs FOLDER ORG/NAME < {"prompts": […], "settings": {…}}
// Prints, as JSON, what transformers.js writes behind each prompt with the model in FOLDER/ORG/NAME; nothing is fetched.
import { readFileSync } from "node:fs";
import { env, pipeline } from "@huggingface/transformers";

const [folder, name] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = folder;
const { prompts, settings } = JSON.parse(readFileSync(0, "utf8"));
const write = await pipeline("text-generation", name, { dtype: "fp32" });
const texts = [];
for (const prompt of prompts) {
  // the words' start, and all positions that the model has: what pipelines in Python do by themselves
  const given = { add_special_tokens: true, max_new_tokens: null, return_full_text: false, ...settings };
  const [{ generated_text }] = await write(prompt, given);
  texts.push(generated_text);
}
console.log(JSON.stringify(texts));
