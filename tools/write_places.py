"""Write the countries, provinces and varieties that the demo offers: the real ones of the bundled sample.

python tools/write_places.py
"""

import json
from pathlib import Path

from tools.sample_grammar.places import PROVINCES

PLACES = Path(__file__).parents[1] / "space" / "places.json"


def main() -> None:
    """Write the file that lies next to the demo."""
    PLACES.write_text(json.dumps(places(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(PLACES)


def places() -> dict[str, dict[str, list[str]]]:
    """Return country → province → varieties, each in alphabetical order."""
    found: dict[str, dict[str, set[str]]] = {}
    for province in PROVINCES:
        varieties = found.setdefault(province.country, {}).setdefault(province.name, set())
        varieties.update(*(region.varieties for region in province.regions))
    return {
        country: {name: sorted(varieties) for name, varieties in sorted(provinces.items())}
        for country, provinces in sorted(found.items())
    }


if __name__ == "__main__":
    main()
