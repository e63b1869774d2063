"""The metric ``conditioning`` as a module of ``evaluate``."""
