// node --import ./local_models.mjs PROGRAM
// Make transformers.js load models from the folder in the variable MODELS, and download nothing.
import { env } from "@huggingface/transformers";

env.allowRemoteModels = false;
env.localModelPath = process.env.MODELS;
