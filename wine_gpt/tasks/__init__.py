"""Uses of a pretrained GPT beside writing."""
