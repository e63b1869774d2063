"""Publish a run on the Hub: stage repositories, fill cards, make one commit each."""

from wine_gpt.publishing.publish import publish
from wine_gpt.publishing.staging import Publication

__all__ = ["Publication", "publish"]
