"""The bundled sample: synthetic wine reviews in Kaggle's form, and the grammar that wrote them."""

from pathlib import Path

SAMPLE_PATH = Path(__file__).with_name("winemag-sample.json")
