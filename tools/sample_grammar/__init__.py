"""Generate the bundled sample: synthetic wine reviews in Kaggle's form."""
