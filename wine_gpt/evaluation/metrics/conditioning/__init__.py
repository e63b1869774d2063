"""A module of ``evaluate``; load it with :func:`wine_gpt.evaluation.metrics.load_metric`."""
