"""The grammar that wrote the bundled sample: synthetic wine reviews in Kaggle's form."""
