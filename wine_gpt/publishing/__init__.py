"""Publish a run on the Hub: stage repositories, fill cards, make one commit each.

``publish`` is not exported here, because ``wine_gpt.publishing.publish`` is the module that defines it.
"""

from typing import TYPE_CHECKING

from wine_gpt.lazy import exports_lazily

if TYPE_CHECKING:
    from wine_gpt.publishing.publication import Publication
    from wine_gpt.publishing.publish import PublishResult

__all__ = ["Publication", "PublishResult"]

__getattr__ = exports_lazily(__name__, {"Publication": "publication", "PublishResult": "publish"})
