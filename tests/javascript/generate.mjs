// MODELS=FOLDER node --import ./local_models.mjs generate.mjs ORG/NAME < {"prompts": […], "dtype": null, "settings": {…}}
// Print as JSON the text that transformers.js generates after each prompt, with the model in FOLDER/ORG/NAME.
import { readFileSync } from "node:fs";
import { pipeline } from "@huggingface/transformers";

const { prompts, dtype, settings } = JSON.parse(readFileSync(0, "utf8"));
const generate = await pipeline("text-generation", process.argv[2], ...(dtype ? [{ dtype }] : []));
const texts = [];
for (const prompt of prompts) {
  // Python's pipeline also uses all of the model's positions
  const options = { max_new_tokens: null, return_full_text: false, ...settings };
  const [{ generated_text }] = await generate(prompt, options);
  texts.push(generated_text);
}
console.log(JSON.stringify(texts));
