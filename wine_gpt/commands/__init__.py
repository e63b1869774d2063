"""Run the stages from the command line: ``wine-gpt NAME …`` and ``scripts/NAME.py``."""
