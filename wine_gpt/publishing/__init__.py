"""Publish a run on the Hub: stage repositories, fill cards, make one commit each."""

from wine_gpt.publishing.publication import Publication
from wine_gpt.publishing.publish import publish

__all__ = ["Publication", "publish"]
