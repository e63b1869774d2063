"""A small GPT-2 on wine reviews, from raw records to a model on the Hugging Face Hub."""

__version__ = "0.1.0"
