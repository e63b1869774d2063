"""A module of ``evaluate``; load it with :func:`wine_gpt.metrics.load_metric`."""
