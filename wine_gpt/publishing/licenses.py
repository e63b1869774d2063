"""Licenses: the Hub's identifiers, their names and addresses, and their conditions in words."""

import difflib
import re
from dataclasses import dataclass
from typing import Self

from wine_gpt.errors import UserError

# the identifiers at LIST
LISTED = """
afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0
bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5
cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0
cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 etalab-2.0
eupl-1.1 eupl-1.2 fair-noncommercial-research-license gemma gfdl gpl gpl-2.0 gpl-3.0 grok2-community h-research
intel-research isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit
mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openmdw-1.0 openrail openrail++ osl-3.0 other pddl postgresql unknown
unlicense wtfpl zlib
"""
IDENTIFIERS = frozenset(LISTED.split())
OTHER, UNKNOWN = "other", "unknown"
LIST = "https://huggingface.co/docs/hub/repositories-licenses"
CREATIVE_COMMONS = re.compile(r"cc-(by[a-z-]*)-([\d.]+)")
NAMES = {
    "apache-2.0": ("Apache 2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
    "cc0-1.0": ("CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "mit": ("MIT", "https://opensource.org/license/mit"),
    # identifiers of families, none of whose members is named
    "bsd": ("a BSD license", None),
    "cc": ("a Creative Commons license", None),
    "gpl": ("a version of the GPL", None),
    "lgpl": ("a version of the LGPL", None),
    "openrail": ("an OpenRAIL license", None),
}
NOTHING_PERMITTED = "The license of the training texts is unknown, so nobody is permitted to reuse the weights."


@dataclass(frozen=True)
class License:
    """A license.

    Attributes:
        id: the Hub's identifier; ``other`` for a license that the Hub does not list.
        name: as people write it, such as CC BY-NC-SA 4.0.
        url: of its text; None if it is not known.
    """

    id: str
    name: str
    url: str | None

    @classmethod
    def of(cls, identifier: str, name: str | None = None, link: str | None = None) -> Self:
        """Return a license.

        Args:
            identifier: the Hub's.
            name: for the identifier ``other``, a short name such as ``my-license-1.0``.
            link: for the identifier ``other``, the address of the license's text.

        Raises:
            UserError: if the Hub does not list the identifier, or name and link are missing or not needed.
        """
        if identifier not in IDENTIFIERS:
            nearest = difflib.get_close_matches(identifier.lower(), IDENTIFIERS, n=1)
            hint = f"did you mean {nearest[0]}? " if nearest else ""
            advice = "for another license: --license other --license_name NAME --license_link URL"
            raise UserError(f"--license {identifier}: is not listed at {LIST}; {hint}{advice}")
        if identifier == OTHER:
            if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name or ""):
                raise UserError(f"--license_name {name or 'is missing'}: use a-z, 0-9, dots and hyphens")
            if not re.fullmatch(r"https?://[^\s<>()]+", link or ""):
                raise UserError(f"--license_link {link or 'is missing'}: name the https address of the license")
            return cls(identifier, str(name), link)
        if name or link:
            raise UserError(f"--license {identifier}: --license_name and --license_link are for --license other")
        if parts := CREATIVE_COMMONS.fullmatch(identifier):
            kind, version = parts.groups()
            return cls(
                identifier, f"CC {kind.upper()} {version}", f"https://creativecommons.org/licenses/{kind}/{version}/"
            )
        return cls(identifier, *NAMES.get(identifier, (identifier, None)))

    @property
    def markdown(self) -> str:
        """The name, with a link to the text."""
        return f"[{self.name}]({self.url})" if self.url else self.name

    @property
    def of_weights(self) -> str:
        """One sentence on the license of a model's weights, in Markdown."""
        return NOTHING_PERMITTED if self.id == UNKNOWN else f"The weights are licensed under {self.markdown}."

    def conditions(self, creator: str) -> str:
        """Return what a Creative Commons license asks for, in words; empty for other licenses.

        Args:
            creator: whom to credit.
        """
        parts = CREATIVE_COMMONS.fullmatch(self.id)
        if parts is None:
            return ""
        sentences = {
            "nc": "They may be used for non-commercial purposes only.",
            "by": f"Whoever shares them must credit {creator}.",
            "sa": "What is derived from them must have the same license.",
            "nd": "What is derived from them may not be shared.",
        }
        conditions = parts[1].split("-")
        return " ".join(sentence for condition, sentence in sentences.items() if condition in conditions)
