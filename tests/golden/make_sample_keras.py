"""Write sample_keras.json: what Keras' TextVectorization makes of the bundled sample, prepared as in the class.

Made with tensorflow-cpu 2.21.0 and keras 3.15.1, which no test needs:

    python -m venv keras && keras/bin/pip install tensorflow-cpu keras
    keras/bin/python tests/golden/make_sample_keras.py
"""

import hashlib
import json
import re
import string
from pathlib import Path

from keras.layers import TextVectorization

HERE = Path(__file__).parent
SAMPLE = HERE.parents[1] / "wine_gpt" / "sample" / "winemag-sample.json"
FIELDS = ("country", "province", "variety", "description")
# all words of the sample fit into the larger one
SIZES = (10_000, 500)


def main() -> None:
    """Vectorize the sample with each vocabulary size and save words, and a checksum of the ids."""
    records = json.loads(SAMPLE.read_text(encoding="utf-8"))
    texts = [
        "wine review : " + " : ".join(record[field] for field in FIELDS)
        for record in records
        if all(record[field] is not None for field in FIELDS)
    ]
    # the layer lowers ASCII letters only, so that is done here for all of Unicode
    prepared = [pad_punctuation(text).lower() for text in texts]
    golden = {str(size): vectorize(prepared, size) for size in SIZES}
    (HERE / "sample_keras.json").write_text(json.dumps(golden, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def pad_punctuation(text: str) -> str:
    """Return the text with spaces around punctuation, by the class's regular expression."""
    text = re.sub(f"([{string.punctuation}, '\n'])", r" \1 ", text)
    return re.sub(" +", " ", text)


def vectorize(texts: list[str], size: int) -> dict[str, object]:
    """Return the layer's vocabulary and the SHA-256 of all ids as JSON."""
    layer = TextVectorization(standardize=None, max_tokens=size, output_mode="int", output_sequence_length=None)
    layer.adapt(texts)
    # the layer pads to the longest text of a call
    ids = [layer([text]).numpy()[0].tolist() for text in texts]
    return {
        "vocabulary": layer.get_vocabulary(),
        "ids_sha256": hashlib.sha256(json.dumps(ids).encode()).hexdigest(),
    }


if __name__ == "__main__":
    main()
