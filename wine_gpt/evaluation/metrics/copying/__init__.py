"""The metric ``copying`` as a module of ``evaluate``."""
