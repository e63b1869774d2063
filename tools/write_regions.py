"""Write space/regions.json: the sample's countries, provinces and varieties, which the demo offers.

python -m tools.write_regions
"""

import argparse
import json
from pathlib import Path

from tools.sample_grammar.regions import PROVINCES

REGIONS = Path(__file__).parents[1] / "space" / "regions.json"


def main() -> None:
    """Write the file."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    REGIONS.write_text(json.dumps(regions(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(REGIONS)


def regions() -> dict[str, dict[str, list[str]]]:
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
