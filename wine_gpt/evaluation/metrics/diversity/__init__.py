"""The metric ``diversity`` as a module of ``evaluate``."""
