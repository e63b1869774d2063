"""Generate with transformers' pipeline, with a model's folder and without this package.

python tests/support/use_pipeline.py FOLDER
"""

import json
import sys

from transformers import pipeline, set_seed

PROMPTS = ["wine review : italy", "", "wine review : germany : mosel : riesling : it's a light-", "Wine review: Spain"]


def main() -> None:
    """Print texts, token ids and lengths as JSON."""
    write = pipeline("text-generation", model=sys.argv[1])
    set_seed(0)
    eos = write.tokenizer.eos_token_id
    suppressed = write.model.generation_config.suppress_tokens

    def text(prompt: str, **settings: object) -> str:
        return str(write(prompt, **settings)[0]["generated_text"])

    def ids(prompt: str, **settings: object) -> list[int]:
        return list(write(prompt, return_tensors=True, **settings)[0]["generated_token_ids"])

    found = {
        "sampled": text("wine review : italy"),
        "empty": text(""),
        "lower": text("wine review : italy", do_sample=False),
        "capital": text("WINE Review: Italy", do_sample=False),
        "wild": [ids("wine review", temperature=20.0) for _ in range(20)],
        "ended": ids("wine review : italy", do_sample=False),
        "endless": [
            len(ids("plum " * words, suppress_tokens=[*suppressed, eos]))
            for words in (0, 1, 30, write.model.config.n_positions - 2)
        ],
        "truncated": [len(ids("plum " * words, truncation=True)) for words in (write.model.config.n_positions, 1000)],
        "sentence": text(
            "wine review : italy : tuscany : riesling : it's a light-bodied, crisp wine with plum and oak, worth",
            do_sample=False,
            eos_token_id=[eos, write.tokenizer.convert_tokens_to_ids(".")],
        ),
        "alone": [text(prompt, do_sample=False) for prompt in PROMPTS],
        "batched": [one[0]["generated_text"] for one in write(PROMPTS, do_sample=False, batch_size=len(PROMPTS))],
        "wine_gpt": any(name.split(".")[0] == "wine_gpt" for name in sys.modules),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
