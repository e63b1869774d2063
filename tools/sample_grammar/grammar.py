"""Generate synthetic wine reviews in the form of Kaggle's ``winemag-data-130k-v2.json`` from a seeded grammar.

``lexicon.py`` holds the words and ``regions.py`` the geography. This module samples a wine and expands its tables into
a record, one record at a time, so memory does not grow with their number.
"""

import functools
import itertools
import random
import re
from bisect import bisect
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from tools.sample_grammar.lexicon import CLIMATES, SHARED, STYLES, TIERS, VARIETIES, Style, Table
from tools.sample_grammar.regions import PRODUCERS, PROVINCES, TASTERS, Province, Region

# a record of Kaggle's file, where points is a string, price a number, and all but four fields may be null
Record = dict[str, str | int | None]

SEED = 42
COUNT = 2000

# slots that have one value per review, because a second value would contradict the first
FIXED = frozenset({"alcohol", "shares"})
# attempts to find an option that a review has not used yet; a short list of options may run out
TRIES = 8
# the most records between a record and its duplicate
WINDOW = 64

# fractions of records with missing or unusual values, about as in the real file
REPEATED = 0.01
NO_TASTER = 0.2
NO_DESIGNATION = 0.3
NO_PRICE = 0.07
NO_PLACE = 0.002
NO_VARIETY = 0.001
CURLY = 0.06
DOUBLE_SPACE = 0.02

# the latest vintage of a wine that is sold in the year of its harvest
NEWEST = 2016
# the highest price of a cheap wine and the lowest of an expensive one, in dollars
CHEAP = 15
DEAR = 60
NAMED_BY_PLACE = frozenset({"France", "Italy"})

SLOT = re.compile(r"\{(\w+)\}")
ARTICLE = re.compile(r" a (?=[aeioué]|herb)", re.IGNORECASE)

T = TypeVar("T")


class Option(NamedTuple):
    """One way to fill a slot.

    Attributes:
        text: with ``%s`` for each slot in it.
        slots: the names of those slots.
        key: options with the same key count as repetitions of each other.
    """

    text: str
    slots: tuple[str, ...]
    key: str


Slots = Mapping[str, tuple[Option, ...]]


class Wine(NamedTuple):
    """A kind of wine, without vintage and producer."""

    province: Province
    region: Region
    variety: str
    style: str
    # the grape as the label names it; empty for French and Italian regions with one grape
    label: str


class Draw:
    """Seeded choices that use :meth:`random.Random.random` alone.

    Python guarantees the sequence of that method for a seed in all versions, but not those of ``choice`` and
    ``shuffle``, which could change the bundled file.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed).random

    def below(self, limit: int) -> int:
        """Return an integer from 0 to ``limit`` - 1."""
        return int(self.random() * limit)

    def one(self, options: Sequence[T]) -> T:
        """Return one of the options with equal probability."""
        return options[int(self.random() * len(options))]

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.random() < probability


class WeightedChoice(Generic[T]):
    """Items that are sampled in proportion to their weights."""

    def __init__(self, items: Sequence[T], weights: Sequence[float]) -> None:
        self.items = items
        self.bounds = list(itertools.accumulate(weights))

    def draw(self, draw: Draw) -> T:
        """Return one item, sampled by weight."""
        return self.items[bisect(self.bounds, draw.random() * self.bounds[-1])]


def _wines() -> WeightedChoice[Wine]:
    """Return every wine; a province's weight is divided among its regions, a region's among its varieties."""
    wines, weights = [], []
    for province in PROVINCES:
        for region in province.regions:
            silent = province.country in NAMED_BY_PLACE and len(region.varieties) == 1
            for name, weight in region.varieties.items():
                variety = VARIETIES[name]
                label = "" if silent else variety.label
                wines.append(Wine(province, region, name, region.style or variety.style, label))
                weights.append(province.weight / len(province.regions) * weight / sum(region.varieties.values()))
    return WeightedChoice(wines, weights)


WINES = _wines()
CRITICS = {country: [taster for taster in TASTERS if country in taster.countries] for country in PRODUCERS}
POINTS = WeightedChoice(range(80, 99), [1, 3, 8, 15, 28, 44, 48, 66, 70, 42, 66, 40, 38, 22, 16, 6, 4, 2, 1])


def _option(text: str) -> Option:
    slots = tuple(SLOT.findall(text))
    # the key of plain words is the last one, because "red cherry" repeats "black cherry"
    key = text if slots else text.rpartition(" ")[2]
    return Option(SLOT.sub("%s", text.replace("%", "%%")) if slots else text, slots, key)


def _options(table: Table) -> Slots:
    return {slot: tuple(map(_option, texts)) for slot, texts in table.items()}


# the options of all tables, from general to specific, parsed once
COMMON_SLOTS = _options(SHARED)
COUNTRY_SLOTS = {name: _options(table) for name, table in PRODUCERS.items()}
CLIMATE_SLOTS = {name: _options(table) for name, table in CLIMATES.items()}
VARIETY_SLOTS = {name: _options(variety.table) for name, variety in VARIETIES.items()}
STYLE_SLOTS = {name: _options(style.table) for name, style in STYLES.items()}
TIER_SLOTS = [_options(tier.table) for tier in TIERS]
TIER_BOUNDS = [tier.points for tier in TIERS[1:]]


@functools.cache
def _slots(country: str, climate: str, variety: str, style: str, tier: int, band: str) -> Slots:
    """Return every slot's options; specific tables override general ones, and ``band`` selects those of "value"."""
    own = {**CLIMATE_SLOTS[climate], **VARIETY_SLOTS[variety], **STYLE_SLOTS[style], **TIER_SLOTS[tier]}
    return {**COMMON_SLOTS, **COUNTRY_SLOTS[country], **own, "value": own[band]}


def _writer(slots: Slots, facts: dict[str, str], draw: Draw) -> Callable[[str], str]:
    """Return the function that fills the slots of one record; ``facts`` are slots whose values are given."""
    used: set[str] = set()
    random = draw.random

    def fill(slot: str) -> str:
        if slot in facts:
            return facts[slot]
        options = slots[slot]
        for _ in range(TRIES):
            text, inner, key = options[int(random() * len(options))]
            if key not in used:
                break
        used.add(key)
        if inner:
            text %= tuple([fill(name) for name in inner])
        if slot in FIXED:
            facts[slot] = text
        return text

    return fill


def generate_records(count: int, seed: int = SEED) -> Iterator[Record]:
    """Generate records one by one; a smaller count gives the first records of a larger one.

    Args:
        count: the number of records.
        seed: another seed gives other records.

    Yields:
        records with the keys of Kaggle's file in its order, some with nulls; about 1% repeat a recent record.
    """
    draw = Draw(seed)
    recent: deque[Record] = deque(maxlen=WINDOW)
    for _ in range(count):
        record = _repeat(draw.one(recent), draw) if recent and draw.chance(REPEATED) else _record(draw)
        recent.append(record)
        yield record.copy()


def _repeat(record: Record, draw: Draw) -> Record:
    """Return a copy of the record, in half of the cases without taster and price."""
    unknown: Record = {"taster_name": None, "taster_twitter_handle": None, "price": None}
    return record.copy() if draw.chance(0.5) else record | unknown


def _record(draw: Draw) -> Record:
    province, region, variety, style_name, label = WINES.draw(draw)
    style, points = STYLES[style_name], POINTS.draw(draw)
    price = None if draw.chance(NO_PRICE) else _price(points, province, draw)
    tier = bisect(TIER_BOUNDS, points)
    slots = _slots(province.country, province.climate, variety, style_name, tier, _band(price))
    place = region.name or province.name
    harvest = NEWEST - style.release - int(draw.random() * draw.random() * (style.cellar + 1))
    fill = _writer(slots, _facts(place, harvest, style, draw), draw)
    winery = fill("winery")
    vintage = "NV" if draw.chance(style.undated) else str(harvest)
    designation = None if draw.chance(NO_DESIGNATION) else fill("designation")
    taster = None if draw.chance(NO_TASTER) else draw.one(CRITICS[province.country])
    placed = not draw.chance(NO_PLACE)
    title = (winery, vintage, *([designation] if designation else []), label, *([f"({place})"] if placed else []))
    return {
        "points": str(points),
        "title": " ".join(title).rstrip(),
        "description": _typed(fill("review"), draw),
        "taster_name": taster.name if taster else None,
        "taster_twitter_handle": taster.handle if taster else None,
        "price": price,
        "designation": designation,
        "variety": None if draw.chance(NO_VARIETY) else variety,
        "region_1": region.name if placed else None,
        "region_2": region.region_2 if placed else None,
        "province": province.name if placed else None,
        "country": province.country if placed else None,
        "winery": winery,
    }


def _facts(place: str, harvest: int, style: Style, draw: Draw) -> dict[str, str]:
    """Return the slots that must agree with the label: vintage, region, and the years to drink the wine in."""
    ready = harvest + style.release + 1 + draw.below(1 + style.cellar // 2)
    last = ready + style.cellar + draw.below(style.cellar)
    return {"vintage": str(harvest), "region": place.partition(" (")[0], "from": str(ready), "to": str(last)}


def _typed(text: str, draw: Draw) -> str:
    """Correct articles and capitals; rarely use typographic apostrophes or double a space, as the real file does."""
    text = ARTICLE.sub(" an ", f" {text}")[1:]
    text = ". ".join([sentence[:1].upper() + sentence[1:] for sentence in text.split(". ")])
    if draw.chance(CURLY):
        text = text.replace("'", "’")
    return text.replace(". ", ".  ", 1) if draw.chance(DOUBLE_SPACE) else text


def _price(points: int, province: Province, draw: Draw) -> int:
    """Return the price in dollars, which grows with the square of the points and varies by half either way."""
    usual = (9 + 0.3 * (points - 80) ** 2) * province.price / 100
    return max(5, int(usual * (0.5 + draw.random())))


def _band(price: int | None) -> str:
    """Return the slot of remarks on this price: "fair" for an unknown one, because its remarks do not name a price."""
    if price is None or CHEAP < price < DEAR:
        return "fair"
    return "cheap" if price <= CHEAP else "dear"
