"""The geography of the bundled sample: real countries, provinces and regions, and the grapes that grow there.

Wineries, vineyards and tasters are invented; any resemblance to real ones is coincidence.
"""

from collections.abc import Mapping
from typing import NamedTuple

from tools.sample_grammar.lexicon import Table


class Region(NamedTuple):
    """An appellation.

    Attributes:
        name: none if the label names the province.
        varieties: the weight of each variety.
        region_2: the larger region that contains it, in the US.
        style: replaces the varieties' own style.
    """

    name: str | None
    varieties: Mapping[str, int]
    region_2: str | None = None
    style: str | None = None


class Province(NamedTuple):
    """A province, its weight among all reviews, its climate and its prices in percent of the usual price."""

    country: str
    name: str
    weight: int
    climate: str
    price: int
    regions: tuple[Region, ...]


class Taster(NamedTuple):
    """An invented critic and the countries that the critic covers."""

    name: str
    handle: str | None
    countries: tuple[str, ...]


_NAPA = {
    "Cabernet Sauvignon": 8,
    "Chardonnay": 3,
    "Merlot": 2,
    "Red Blend": 2,
    "Sauvignon Blanc": 1,
    "Bordeaux-style Red Blend": 1,
}
_RUSSIAN_RIVER = {"Pinot Noir": 6, "Chardonnay": 5, "Zinfandel": 1}
_PASO_ROBLES = {
    "Zinfandel": 3,
    "Syrah": 3,
    "Cabernet Sauvignon": 2,
    "Petite Sirah": 2,
    "Rhône-style Red Blend": 2,
    "Viognier": 1,
    "Red Blend": 2,
}
_COLUMBIA = {
    "Cabernet Sauvignon": 4,
    "Syrah": 4,
    "Merlot": 3,
    "Riesling": 2,
    "Red Blend": 3,
    "Chardonnay": 2,
    "Cabernet Franc": 1,
}

PROVINCES: tuple[Province, ...] = (
    Province(
        "US",
        "California",
        272,
        "warm",
        130,
        (
            Region("Napa Valley", _NAPA, "Napa"),
            Region("Napa Valley", _NAPA, "Napa"),
            Region("Rutherford", {"Cabernet Sauvignon": 4, "Merlot": 1}, "Napa"),
            Region("Russian River Valley", _RUSSIAN_RIVER, "Sonoma"),
            Region("Sonoma Coast", {"Pinot Noir": 4, "Chardonnay": 3, "Syrah": 1}, "Sonoma"),
            Region("Dry Creek Valley", {"Zinfandel": 4, "Sauvignon Blanc": 2, "Petite Sirah": 1}, "Sonoma"),
            Region("Paso Robles", _PASO_ROBLES, "Central Coast"),
            Region("Santa Barbara County", {"Pinot Noir": 3, "Chardonnay": 3, "Syrah": 2, "Rosé": 1}, "Central Coast"),
            Region("Lodi", {"Zinfandel": 4, "Petite Sirah": 1, "Viognier": 1}, "Central Valley"),
            Region("Anderson Valley", {"Pinot Noir": 4, "Gewürztraminer": 1, "Sparkling Blend": 1}),
            Region(
                "California",
                {"Chardonnay": 3, "Red Blend": 2, "Cabernet Sauvignon": 2, "Pinot Grigio": 1, "White Blend": 1},
                "California Other",
            ),
        ),
    ),
    Province(
        "US",
        "Washington",
        66,
        "mild",
        105,
        (
            Region("Columbia Valley (WA)", _COLUMBIA, "Columbia Valley"),
            Region("Columbia Valley (WA)", _COLUMBIA, "Columbia Valley"),
            Region(
                "Walla Walla Valley (WA)",
                {"Syrah": 3, "Cabernet Sauvignon": 3, "Merlot": 2, "Bordeaux-style Red Blend": 2},
                "Columbia Valley",
            ),
            Region("Yakima Valley", {"Riesling": 2, "Syrah": 2, "Viognier": 1, "Malbec": 1}, "Columbia Valley"),
        ),
    ),
    Province(
        "US",
        "Oregon",
        42,
        "cool",
        120,
        (
            Region("Willamette Valley", {"Pinot Noir": 7, "Pinot Gris": 2, "Chardonnay": 2}, "Willamette Valley"),
            Region("Dundee Hills", {"Pinot Noir": 4, "Chardonnay": 1}, "Willamette Valley"),
            Region("Rogue Valley", {"Tempranillo": 1, "Syrah": 1, "Viognier": 1}, "Southern Oregon"),
        ),
    ),
    Province(
        "US",
        "New York",
        22,
        "cool",
        75,
        (
            Region(
                "Finger Lakes", {"Riesling": 6, "Cabernet Franc": 2, "Gewürztraminer": 1, "Rosé": 1}, "Finger Lakes"
            ),
            Region("North Fork of Long Island", {"Merlot": 2, "Cabernet Franc": 1, "Chardonnay": 1}, "Long Island"),
        ),
    ),
    Province(
        "Italy",
        "Piedmont",
        32,
        "cool",
        150,
        (
            Region("Barolo", {"Nebbiolo": 1}),
            Region("Barolo", {"Nebbiolo": 1}),
            Region("Barbaresco", {"Nebbiolo": 1}),
            Region("Barbera d'Asti", {"Barbera": 1}),
            Region("Langhe", {"Nebbiolo": 2, "Barbera": 1, "Chardonnay": 1}),
        ),
    ),
    Province(
        "Italy",
        "Tuscany",
        44,
        "mild",
        135,
        (
            Region("Chianti Classico", {"Sangiovese": 1}),
            Region("Brunello di Montalcino", {"Sangiovese Grosso": 1}),
            Region("Toscana", {"Red Blend": 4, "Sangiovese": 2, "Vermentino": 1}),
            Region("Bolgheri", {"Bordeaux-style Red Blend": 1}),
        ),
    ),
    Province(
        "Italy",
        "Veneto",
        24,
        "mild",
        90,
        (
            Region("Amarone della Valpolicella", {"Corvina, Rondinella, Molinara": 1}),
            Region("Valdobbiadene Prosecco Superiore", {"Glera": 1}),
            Region("Soave", {"Garganega": 1}),
        ),
    ),
    Province(
        "Italy",
        "Sicily & Sardinia",
        20,
        "warm",
        80,
        (
            Region("Sicilia", {"Nero d'Avola": 4, "Red Blend": 2, "White Blend": 2}),
            Region("Vermentino di Gallura", {"Vermentino": 1}),
        ),
    ),
    Province(
        "Italy",
        "Northeastern Italy",
        19,
        "cool",
        90,
        (
            Region("Alto Adige", {"Pinot Grigio": 3, "Gewürztraminer": 2, "Pinot Noir": 1, "Sauvignon Blanc": 1}),
            Region("Collio", {"Pinot Grigio": 2, "White Blend": 2, "Sauvignon Blanc": 1}),
        ),
    ),
    Province(
        "Italy",
        "Southern Italy",
        10,
        "warm",
        85,
        (Region("Taurasi", {"Aglianico": 1}), Region("Aglianico del Vulture", {"Aglianico": 1})),
    ),
    Province(
        "Italy",
        "Central Italy",
        9,
        "mild",
        70,
        (Region("Montepulciano d'Abruzzo", {"Montepulciano": 1}), Region("Umbria", {"Red Blend": 2, "Sangiovese": 1})),
    ),
    Province(
        "France",
        "Bordeaux",
        46,
        "mild",
        130,
        (
            Region("Saint-Émilion", {"Bordeaux-style Red Blend": 1}),
            Region("Médoc", {"Bordeaux-style Red Blend": 1}),
            Region("Pessac-Léognan", {"Bordeaux-style Red Blend": 2, "Bordeaux-style White Blend": 1}),
            Region("Bordeaux Blanc", {"Bordeaux-style White Blend": 1}),
            Region("Sauternes", {"Bordeaux-style White Blend": 1}, style="sweet"),
        ),
    ),
    Province(
        "France",
        "Burgundy",
        33,
        "cool",
        170,
        (
            Region("Chablis", {"Chardonnay": 1}, style="mineral white"),
            Region("Meursault", {"Chardonnay": 1}),
            Region("Gevrey-Chambertin", {"Pinot Noir": 1}),
            Region("Beaune", {"Pinot Noir": 3, "Chardonnay": 1}),
        ),
    ),
    Province("France", "Champagne", 16, "cool", 190, (Region("Champagne", {"Champagne Blend": 1}),)),
    Province(
        "France",
        "Alsace",
        20,
        "cool",
        95,
        (Region("Alsace", {"Riesling": 4, "Pinot Gris": 3, "Gewürztraminer": 3, "Sparkling Blend": 1}),),
    ),
    Province(
        "France",
        "Loire Valley",
        16,
        "cool",
        80,
        (
            Region("Sancerre", {"Sauvignon Blanc": 1}),
            Region("Vouvray", {"Chenin Blanc": 1}),
            Region("Chinon", {"Cabernet Franc": 1}),
        ),
    ),
    Province(
        "France", "Beaujolais", 11, "mild", 70, (Region("Morgon", {"Gamay": 1}), Region("Fleurie", {"Gamay": 1}))
    ),
    Province(
        "France",
        "Rhône Valley",
        13,
        "warm",
        130,
        (
            Region("Châteauneuf-du-Pape", {"Rhône-style Red Blend": 1}),
            Region("Côtes du Rhône", {"Rhône-style Red Blend": 4, "Viognier": 1}),
            Region("Crozes-Hermitage", {"Syrah": 1}),
        ),
    ),
    Province("France", "Provence", 14, "warm", 75, (Region("Côtes de Provence", {"Rosé": 1}),)),
    Province("France", "Southwest France", 8, "mild", 70, (Region("Cahors", {"Malbec": 1}),)),
    Province(
        "Spain",
        "Northern Spain",
        28,
        "mild",
        100,
        (
            Region("Rioja", {"Tempranillo": 5, "Rosé": 1}),
            Region("Ribera del Duero", {"Tempranillo": 1}),
            Region("Navarra", {"Grenache": 2, "Tempranillo": 2, "Rosé": 1}),
            Region("Rueda", {"Verdejo": 4, "Sauvignon Blanc": 1}),
        ),
    ),
    Province(
        "Spain",
        "Catalonia",
        12,
        "warm",
        90,
        (Region("Cava", {"Sparkling Blend": 1}), Region("Priorat", {"Red Blend": 2, "Grenache": 1})),
    ),
    Province("Spain", "Galicia", 7, "cool", 80, (Region("Rías Baixas", {"Albariño": 1}),)),
    Province("Spain", "Levante", 6, "warm", 55, (Region("Jumilla", {"Monastrell": 1}),)),
    Province("Portugal", "Douro", 15, "warm", 110, (Region(None, {"Portuguese Red": 4, "Touriga Nacional": 2}),)),
    Province("Portugal", "Alentejano", 10, "warm", 60, (Region(None, {"Portuguese Red": 3, "Portuguese White": 1}),)),
    Province("Portugal", "Vinho Verde", 8, "cool", 50, (Region(None, {"Portuguese White": 5, "Rosé": 1}),)),
    Province("Portugal", "Port", 7, "warm", 180, (Region(None, {"Port": 1}),)),
    Province(
        "Chile",
        "Maipo Valley",
        11,
        "mild",
        75,
        (Region(None, {"Cabernet Sauvignon": 4, "Carmenère": 2, "Red Blend": 1}),),
    ),
    Province(
        "Chile",
        "Colchagua Valley",
        12,
        "warm",
        75,
        (Region(None, {"Carmenère": 3, "Cabernet Sauvignon": 2, "Syrah": 1, "Malbec": 1}),),
    ),
    Province(
        "Chile",
        "Casablanca Valley",
        9,
        "cool",
        65,
        (Region(None, {"Sauvignon Blanc": 4, "Chardonnay": 2, "Pinot Noir": 2}),),
    ),
    Province(
        "Argentina",
        "Mendoza Province",
        29,
        "warm",
        80,
        (
            Region("Mendoza", {"Malbec": 5, "Cabernet Sauvignon": 2, "Red Blend": 1, "Chardonnay": 1}),
            Region("Uco Valley", {"Malbec": 3, "Cabernet Franc": 1}),
        ),
    ),
    Province(
        "Argentina",
        "Other",
        6,
        "warm",
        65,
        (Region("Cafayate", {"Torrontés": 3, "Malbec": 2}), Region("Patagonia", {"Pinot Noir": 1, "Malbec": 1})),
    ),
    Province(
        "Austria",
        "Burgenland",
        8,
        "mild",
        85,
        (Region(None, {"Blaufränkisch": 3, "Zweigelt": 3, "Chardonnay": 1}),),
    ),
    Province("Austria", "Kamptal", 9, "cool", 90, (Region(None, {"Grüner Veltliner": 3, "Riesling": 2}),)),
    Province("Austria", "Wachau", 7, "cool", 110, (Region(None, {"Grüner Veltliner": 2, "Riesling": 2}),)),
    Province("Germany", "Mosel", 12, "cool", 100, (Region(None, {"Riesling": 1}),)),
    Province("Germany", "Pfalz", 6, "cool", 85, (Region(None, {"Riesling": 4, "Gewürztraminer": 1}),)),
    Province(
        "Australia",
        "South Australia",
        18,
        "warm",
        95,
        (
            Region("Barossa Valley", {"Shiraz": 4, "Grenache": 1}),
            Region("McLaren Vale", {"Shiraz": 3, "Rhône-style Red Blend": 1}),
            Region("Clare Valley", {"Riesling": 1}),
            Region("Coonawarra", {"Cabernet Sauvignon": 2, "Shiraz": 1}),
        ),
    ),
    Province(
        "Australia",
        "Victoria",
        6,
        "cool",
        100,
        (Region("Yarra Valley", {"Pinot Noir": 2, "Chardonnay": 2, "Shiraz": 1}),),
    ),
    Province(
        "New Zealand",
        "Marlborough",
        12,
        "cool",
        70,
        (Region(None, {"Sauvignon Blanc": 6, "Pinot Noir": 2, "Pinot Gris": 1}),),
    ),
    Province("New Zealand", "Hawke's Bay", 4, "mild", 85, (Region(None, {"Syrah": 1, "Chardonnay": 1, "Merlot": 1}),)),
    Province(
        "South Africa",
        "Stellenbosch",
        9,
        "warm",
        75,
        (Region(None, {"Cabernet Sauvignon": 2, "Pinotage": 2, "Chenin Blanc": 2, "Bordeaux-style Red Blend": 1}),),
    ),
    Province(
        "South Africa",
        "Western Cape",
        5,
        "warm",
        50,
        (Region(None, {"Chenin Blanc": 2, "White Blend": 1, "Pinotage": 1, "Rosé": 1}),),
    ),
)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


def _producers(wineries: str, estates: str, designations: str, crus: str) -> Table:
    return {
        "winery": _names(wineries),
        "estate": _names(estates),
        "designation": _names(designations),
        "cru": _names(crus),
    }


PRODUCERS: Mapping[str, Table] = {
    "US": _producers(
        "{estate}, {estate}, {estate} Cellars, {estate} Vineyards, {estate} & Daughters",
        "Lantern Heron, Quiet Ferry, Tin Kestrel, Marrow & Oak, Larkspindle, Brindlewick, Ninth Gate, Coyote Ledger,"
        " Paper Moth, Ashgrove Tally, Saltlick Road, Wendell Pike, Hollow Drum, Tallgrass Union, Orrin Blaylock,"
        " Mercy Switchback, Fiddleback Creek, Old Cannery Row, Vesper Quarry, Juniper Signal",
        "Reserve, Estate, Old Vine, Estate Grown, Barrel Select, {cru} Vineyard, {cru} Vineyard, {cru} Block",
        "Heron Bend, Widow's Gate, Stonecrop, Upper Mule, Dry Bell, Three Owls, Sundial, Crooked Fence, Magpie,"
        " Red Barnacle, Foghorn, Lost Anvil",
    ),
    "Italy": _producers(
        "Podere {estate}, Tenuta {estate}, Cascina {estate}, {estate}, Fratelli {estate}",
        "Trevespri, Lumacone, Borrascura, Cantavento, Malpertosa, Quercilunga, Saltafosso, Venticorvi, Ombrafiore,"
        " Pietragialla, Serramonda, Dondolari, Fontespina, Mezzarocca, Tassobruno",
        "Riserva, Superiore, Vigna {cru}, Vigna {cru}, {cru}, Bricco {cru}, Selezione",
        "Corvale, Spinagatta, Lunaria, Civettone, Rovomoro, Cinquepassi, Fiorsalvo, Tramontello, Ciottolino, Granpepe",
    ),
    "France": _producers(
        "Château {estate}, Domaine {estate}, Domaine {estate}, {estate} Père et Fils, Maison {estate}",
        "Valmorin-Tessac, Bréchandel, Fontargile, Pierrelongue, La Corvette Blanche, Haut-Rameçon, Mirandeuil,"
        " Chantegrive-Morel, Aubressart, Noisemont, Les Trois Huppes, Cadoulière, Vernegache, Roquelaude,"
        " Saugefontaine",
        "Vieilles Vignes, Réserve, Cuvée {cru}, Cuvée {cru}, Clos {cru}, Les {cru}s, Tradition",
        "Hirondelle, Belette, Fougère, Cigale, Marguerite, Grive, Charpente, Ombrelle, Mésange, Clochette",
    ),
    "Spain": _producers(
        "Bodegas {estate}, Bodegas {estate}, Viña {estate}, {estate}, Celler {estate}",
        "Altocierzo, Peñarrubia del Valle, Sombralta, Tres Grajos, Cantoviejo, Lagar del Zorzal, Montebruma,"
        " Ribacerezo, Campoloro, Almadraque, Torrenazar, Puertaviento",
        "Crianza, Reserva, Reserva, Viña {cru}, Finca {cru}, Selección",
        "La Cigüeña, El Tejón, Los Cantos, La Ermita Vieja, El Romeral Alto, La Golondra, Piedrahonda, El Mochuelo",
    ),
    "Portugal": _producers(
        "Quinta {estate}, Quinta {estate}, Herdade {estate}, Casa {estate}, Adega {estate}",
        "da Gralha Azul, do Penedo Torto, das Sete Pontes, da Lontra, do Vale Manso, da Eira Longa, do Cuco,"
        " da Sobreira",
        "Reserva, Grande Reserva, Colheita, Vinhas Velhas, {cru}, Escolha",
        "Andorinha, Pedra Solta, Maresia, Azinhal, Três Marias, Moinho, Cotovia",
    ),
    "Chile": _producers(
        "Viña {estate}, Viña {estate}, {estate}, Casa {estate}",
        "Loma del Puma, Quillaray, Trescordilleras, Alto Huemul, Puente Nevado, Maitenlargo, Cururo, Peumoviejo",
        "Reserva, Gran Reserva, Single Vineyard, Estate, {cru}, {cru} Vineyard",
        "El Copihue, Las Tórtolas, El Zorro Gris, La Trilla, Los Peumos, El Boldo",
    ),
    "Argentina": _producers(
        "Bodega {estate}, Bodega {estate}, Finca {estate}, {estate}",
        "Siete Álamos, Cóndor Manso, Tierra Zonda, Las Vizcachas, Río Escondido Alto, Nubelarga,"
        " El Chañar Viejo, Paloquemado",
        "Reserva, Gran Reserva, Roble, Clásico, Finca {cru}, {cru}",
        "La Jarilla, El Hornero, Los Sauces Bajos, La Calandria, El Ñandú, Piedra Luna",
    ),
    "Austria": _producers(
        "Weingut {estate}, Weingut {estate}, {estate}, Winzerhof {estate}",
        "Habersteiner, Loiskogl, Pröllinger, Kranzbichl, Ettendorfer, Wiesmoser, Rauhbichler, Zirnbauer",
        "Reserve, Alte Reben, Ried {cru}, {cru}, Terrassen",
        "Krähenstein, Sonnleitl, Hirschbrunn, Silberkogel, Eulenberg, Käferleiten",
    ),
    "Germany": _producers(
        "Weingut {estate}, Weingut {estate}, {estate} Erben, {estate}",
        "Dornhecker, Kallenfeld, Brückmoser, Schieferling, Uhlenkamp, Reblaus & Sohn, Amselbach, Treppenhauer",
        "Kabinett, Spätlese, Trocken, Feinherb, Alte Reben, {cru} Kabinett, {cru} Spätlese",
        "Krötenpfad, Eisvogel, Goldlay, Mühlenstieg, Silberlay, Fuchskaul",
    ),
    "Australia": _producers(
        "{estate}, {estate}, {estate} Estate, {estate} Wines",
        "Galah Crossing, Dusty Swagman, Wombat's Folly, Ironbark Junction, Pelican Track, Kookaburra & Finch,"
        " Redgum Parson,"
        " Billabong Lane, Stringybark Annie, Cobbler's Reach",
        "Reserve, Old Vine, Single Vineyard, The {cru}, The {cru}, Bin 41, Bin 114",
        "Stockwhip, Surveyor, Jackaroo, Blacksmith, Night Heron, Tinsmith, Magpie's Debt",
    ),
    "New Zealand": _producers(
        "{estate}, {estate}, {estate} Estate, {estate} Wines",
        "Kereru Point, Tussock Ferry, Weka Hollow, Southerly Jetty, Pukeko & Sons, Longcloud Terrace,"
        " Shearwater Bluff",
        "Reserve, Single Vineyard, {cru} Block, {cru} Vineyard, Estate Grown",
        "Riverstone, Kōwhai, Lower Terrace, Drover's, Fantail, Gannet",
    ),
    "South Africa": _producers(
        "{estate}, {estate}, {estate} Estate, {estate} Wine Cellar",
        "Blouvalk, Hadeda Ridge, Suikerkrans, Klipspringer's Rest, Weltevoël, Drie Kiewiete, Bergkwartel, Ystervark",
        "Reserve, Bush Vine, Barrel Fermented, {cru}, The {cru}, Estate Wine",
        "Protea Path, Sandveld, Windpomp, Lighthouse, Silver Tree, Honeyguide",
    ),
}

TASTERS: tuple[Taster, ...] = (
    Taster("Helena Brandvold-Ruiz", "@brandvoldpours", ("US",)),
    Taster("Desmond Achterkamp", "@desmondsglass", ("US", "South Africa")),
    Taster("Priya Ashdownley", None, ("US", "New Zealand")),
    Taster("Ottavia Lindqvist-Neri", "@ottaviatastes", ("Italy",)),
    Taster("Bertrand Okonjo-Vale", "@valeincork", ("France", "Portugal")),
    Taster("Mireille Faskerton", "@mireillesips\u00a0", ("France",)),
    Taster("Tomás Quiroga-Lund", "@quirogalund", ("Spain", "Argentina", "Chile")),
    Taster("Anselm Trettenbrein", "@trettenbrein", ("Austria", "Germany")),
    Taster("Imogen O’Farraday\u00a0DipW", None, ("Australia", "New Zealand")),
)
