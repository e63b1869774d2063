// A folder as dropped files.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export function dropped(folder) {
  const files = readdirSync(folder).filter((name) => /\.(json|safetensors)$/.test(name));
  return { files: files.map((name) => new File([readFileSync(join(folder, name))], name)) };
}

export const json = (folder, name) => JSON.parse(readFileSync(join(folder, name), "utf8"));
