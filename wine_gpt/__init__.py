"""A small GPT-2 on wine reviews, from raw records to a model on the Hugging Face Hub."""

import os

__version__ = "0.1.0"

# Threads of OpenMP that wait for each other spin; where something else wants the cores too, they keep each other from
# working, and training was seen to take 17 times as long. A short spin costs nothing. It is read when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
