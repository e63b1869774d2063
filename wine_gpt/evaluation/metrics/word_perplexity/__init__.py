"""The metric ``word_perplexity`` as a module of ``evaluate``."""
