"""The words of the bundled sample: grapes, styles, climates and quality as tables for ``grammar.py``.

A table maps a slot to its options. An option is text in which ``{slot}`` stands for one option of that slot; an option
that occurs twice has twice the probability. Tables are merged in the order shared, climate, variety, style, tier, and
later tables override earlier ones. Every sentence was written for this project.
"""

from collections.abc import Mapping
from typing import NamedTuple

Table = Mapping[str, tuple[str, ...]]


class Style(NamedTuple):
    """A style of wine: its words, the years from harvest to review, and the years that good ones keep."""

    table: Table
    release: int
    cellar: int
    # the fraction of wines without a vintage
    undated: float = 0.0


class Tier(NamedTuple):
    """The words for wines of at least ``points`` points."""

    points: int
    table: Table


class Variety(NamedTuple):
    """A grape or blend: its usual style, its words and its usual place on the label."""

    style: str
    table: Table
    label: str


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


def _grape(style: str, name: str, notes: str, traits: str, *character: str) -> tuple[str, Variety]:
    """Return a single variety: ``notes`` are its fruit, ``traits`` its other aromas."""
    table = {"grape": (name,), "note": _words(notes), "trait": _words(traits), "character": character}
    return name, Variety(style, table, name)


def _blend(
    style: str, name: str, label: str, shares: tuple[str, ...], notes: str, traits: str, *character: str
) -> tuple[str, Variety]:
    """Return a blend: ``label`` stands on the bottle in place of a grape."""
    table = {
        "grape": ("blend",),
        "lead_in": ("a blend of {shares}", "composed of {shares}", "a mix of {shares}"),
        "shares": shares,
        "note": _words(notes),
        "trait": _words(traits),
        "character": (*character, "the blend ({shares}) is {seamless}, and no single grape shouts."),
    }
    return name, Variety(style, table, label)


SHARED: Table = {
    "nose": (
        "aromas of {note}, {note} and {trait} {introduce} this {quality} {kind}.",
        "aromas of {note}, {note} and {trait} {introduce} this {quality} {kind}.",
        "{note}, {note} and {trait} aromas lead the {scent} nose.",
        "this {quality} {kind} opens with {scent} scents of {note} and {trait}.",
        "this {quality} {kind} opens with {scent} scents of {trait}, {note} and {accent}.",
        "the {scent} nose shows {note}, {note} and a {hint} of {trait}.",
        "a {scent} nose of {note} and {trait} {prelude}.",
        "{scent} aromas of {note} and {accent} mingle with {trait}.",
        "{note} and {trait} waft from the glass, chased by a {hint} of {accent}.",
        "a {hint} of {trait} runs through the {note} and {accent} aromas.",
        "{lead_in}, this {quality} wine smells of {note}, {note} and {trait}.",
        "{lead_in}, it has {scent} aromas of {trait}, {note} and {accent}.",
        "{time}, the nose gives up {note}, {trait} and {accent}.",
        "think {note}, {trait} and {accent} on the {scent} nose.",
        "you'll find {note}, {note} and {trait} on the nose, along with a {hint} of {accent}.",
    ),
    "introduce": _words("open, introduce, announce, define, mark, perfume, greet you in, set the tone for"),
    "hint": _words(
        "hint, touch, trace, whisper, suggestion, dash, flicker, thread, pinch, ribbon, streak, wisp, note"
    ),
    "prelude": (
        "is the first thing you notice",
        "sets the scene",
        "draws you in",
        "leads straight to the palate",
        "needs a few swirls to emerge",
        "hints at what is to come",
        "is true to the grape and the place",
    ),
    "time": (
        "with some air",
        "after a few minutes",
        "once it warms in the glass",
        "with coaxing",
        "slowly at first",
        "given half an hour in the glass",
        "right away",
    ),
    "lead_in": (
        "made entirely from {grape}",
        "100% {grape}",
        "made with {grape} grown in {region}",
        "sourced from several {grape} vineyards",
        "a varietal {grape} from {region}",
    ),
    "finale": (
        "the {finish} finish {echoes} {accent} and {trait}.",
        "the {finish} finish {echoes} {note}, {trait} and {accent}.",
        "the {finish} ending brings {accent} and a {hint} of {trait}.",
        "{accent} and {trait} mark the {finish} finish.",
        "a {finish} close brings a last {hint} of {trait}.",
        "a {hint} of {accent} adds {interest} to the {finish} finish.",
        "{trait} reappears on the {finish} finish, joined by {accent}.",
        "the finish is {finish}, with {accent} giving way to {trait} and, at the very end, {note}.",
        "what stays in mind after the {finish} finish is {trait}, with {note} close behind.",
        "on the {finish} close, {note} fades into {accent}.",
    ),
    "echoes": _words("echoes, recalls, returns to, closes on, carries, brings, signs off with, plays on"),
    "interest": _words("interest, complexity, depth, intrigue, nuance, contrast, dimension, grace"),
    "origin": (
        "fruit from vines planted in {planted} gives this {kind} its {core} of {note}.",
        "the grapes came from {site} in {region}, and it shows in the {core} of {note}.",
        "only {cases} cases were made of this {quality} {kind}.",
        "this is a {quality} snapshot of the {vintage} vintage in {region}.",
        "{site} gave the fruit for this {quality} {kind} from {region}.",
        "farmed organically on {soil}, the vines yielded a {kind} with a {core} of {note}.",
    ),
    "planted": _words("1929, 1947, 1958, 1964, 1968, 1971, 1973, 1979, 1982, 1985, 1989, 1994, 1998"),
    "core": _words("core, heart, backbone, seam, wealth, depth, fund, reserve"),
    "site": (
        "a steep, terraced hillside",
        "a single windswept parcel",
        "a family-owned vineyard",
        "two neighboring plots",
        "old bush vines",
        "a high plateau",
        "an east-facing slope",
        "a vineyard beside the river",
        "a rocky amphitheater",
        "three small growers",
        "dry-farmed vines",
        "a walled garden of a vineyard",
    ),
    "soil": (
        "limestone",
        "decomposed granite",
        "gravel and clay",
        "volcanic ash",
        "weathered schist",
        "chalky marl",
        "deep sand",
        "iron-rich red earth",
        "ancient riverbed stones",
        "loess terraces",
    ),
    "cases": _words("120, 185, 240, 300, 350, 420, 500, 640, 800, 975, 1,200, 1,500, 2,400, 5,000, 15,000, 40,000"),
    "seamless": _words("seamless, harmonious, well-judged, thoughtful, cohesive, convincing, tightly knit"),
    "now": ("Drink now.", "drink it young.", "Drink now: it won't improve.", "it's ready to pour tonight."),
    "drink": (
        "Drink {from}–{to}.",
        "Drink {from}–{to}.",
        "Drink {from}–{to}.",
        "Drink now through {to}.",
        "Drink from {from}.",
        "Hold until {from}.",
        "it should be at its best from {from} to {to}.",
        "give it until {from}, then enjoy it through {to}.",
        "cellar it through {to}.",
    ),
    "feel": _words("feel, texture, character, style"),
    "months": _words("6, 8, 9, 10, 12, 14, 15, 16, 18, 20, 22, 24, 30, 36"),
    "percent": _words("10%, 15%, 20%, 25%, 30%, 33%, 40%, 50%, 60%, 75%"),
    "balance": (
        "{acid} acidity keeps the {ripe} {note} fruit in focus.",
        "sweet and savory take turns, {note} one moment and {trait} the next.",
        "for all its {ripe} fruit, it stays {texture} and well proportioned.",
        "there's tension between the {ripe} {note} and the {trait}, and it makes for a lively drink.",
        "the alcohol, at {alcohol}, is barely noticeable.",
        "fruit, acidity and {accent} are in balance, with none gaining the upper hand.",
        "it gains weight in the glass, moving from {note} toward {trait} and {accent}.",
        "underneath it all runs a {hint} of {trait} that ties {note} to {accent}.",
        "it feels both {texture} and fresh, which isn't as easy as it sounds.",
        "a second sip brings {note} forward, and a third finds {trait}.",
    ),
    "food": (
        "pair it with {dish}.",
        "try it with {dish} or {dish}.",
        "it's a natural partner for {dish}.",
        "{dish} would be an ideal match.",
        "serve it alongside {dish}.",
        "this is what you want with {dish}.",
        "it begs for {dish}.",
        "open it for {occasion}, with {dish} on the table.",
    ),
    "occasion": (
        "a long Sunday lunch",
        "a midweek supper",
        "a crowd of friends",
        "a quiet evening",
        "a holiday dinner",
        "a dinner party",
        "your next cookout",
    ),
}

_RED: Table = {
    "kind": _words("wine, red, bottling, {grape}, {grape}, {grape}"),
    "palate": (
        "the palate is {body} and {texture}, with {ripe} {note} and {note} flavors framed by {tannin} tannins.",
        "on the palate, {ripe} {note} and {note} meet {tannin} tannins and {acid} acidity.",
        "{tannin} tannins {support} the {body} palate, where {ripe} {note} gives way to {accent}.",
        "it's {body} in the mouth, delivering {ripe} {note}, {note} and {accent} alongside {tannin} tannins.",
        "flavors of {note}, {note} and {accent} are carried by {acid} acidity and {tannin} tannins.",
        "{texture} in {feel}, it layers {ripe} {note} over {accent} and {trait}.",
        "the {body} palate doles out {ripe} {note}, {trait} and {accent} against a backdrop of {tannin} tannins.",
        "{ripe} {note} and {note} fill the {texture} middle while {tannin} tannins and {acid} acidity {support} it.",
        "{body} and {texture}, it offers {ripe} {note}, {accent} and a {hint} of {trait}, with {tannin} tannins.",
        "in the mouth, {accent} and {trait} accent the {ripe} {note} fruit, and the tannins are {tannin}.",
        "there's a {core} of {ripe} {note} here, wrapped in {tannin} tannins and seasoned with {accent}.",
    ),
    "sip": (
        "flavors of {note} and {note} are {simple}, with {tannin} tannins.",
        "the {body} palate shows {ripe} {note} and {accent}.",
        "it tastes of {note}, {note} and {accent}, and the tannins are {tannin}.",
        "{ripe} {note} and {accent} flavors sit on {tannin} tannins and {acid} acidity.",
        "there's {ripe} {note} up front, then {accent} and {tannin} tannins.",
    ),
    "support": _words("support, frame, underpin, steady, shape, anchor, shore up"),
    "quip": (
        "the oak is {oaked}, and the fruit is up to it.",
        "decant it an hour ahead and watch it unfold.",
        "the color alone, {hue}, promises plenty.",
        "this is a red that thinks before it speaks.",
    ),
    "oaked": _words("present but never loud, cleverly handled, generous, deftly measured, evident, well absorbed"),
    "lapse": (
        "the tannins dry out what fruit there is.",
        "a green, stemmy edge creeps in at the end.",
        "the oak takes over, leaving a taste of sawdust and raisin.",
        "it turns hot and a little bitter on the finish.",
    ),
}

_WHITE: Table = {
    "kind": _words("wine, white, bottling, {grape}, {grape}, {grape}"),
    "palate": (
        "the palate is {body} and {texture}, with {ripe} {note} and {note} flavors lifted by {acid} acidity.",
        "on the palate, {ripe} {note} and {note} meet {acid} acidity and a {hint} of {accent}.",
        "{acid} acidity {drives} the {body} palate, where {ripe} {note} gives way to {accent}.",
        "it's {body} in the mouth, delivering {ripe} {note}, {note} and {accent} on a {texture} frame.",
        "flavors of {note}, {note} and {accent} are carried by {acid} acidity.",
        "{texture} in {feel}, it sets {ripe} {note} against {accent} and {trait}.",
        "the {body} palate balances {ripe} {note} and {trait} with {acid} acidity.",
        "{ripe} {note} and {note} fill the {texture} midpalate, and {acid} acidity keeps it lively.",
        "{body} and {texture}, it offers {ripe} {note}, {accent} and a {hint} of {trait}.",
        "in the mouth, {accent} and {trait} accent the {ripe} {note} fruit, and the acidity is {acid}.",
        "a {core} of {ripe} {note} is wrapped in {accent} and cut by {acid} acidity.",
    ),
    "sip": (
        "flavors of {note} and {note} are {simple}, with {acid} acidity.",
        "the {body} palate shows {ripe} {note} and {accent}.",
        "it tastes of {note}, {note} and {accent}, and the acidity is {acid}.",
        "{ripe} {note} and {accent} flavors ride on {acid} acidity.",
        "there's {ripe} {note} up front, then {accent} and {acid} acidity.",
    ),
    "drives": _words("drives, lifts, energizes, sharpens, propels, brightens, steers"),
    "lapse": (
        "the acidity feels tacked on, and the middle is hollow.",
        "a bitter, pithy edge creeps in at the end.",
        "it goes flat as it warms, so keep the ice bucket close.",
        "the fruit is faint and watery, like squash left in the sun.",
    ),
}

_CRISP: Table = {
    **_WHITE,
    "alcohol": _words("11.5%, 12%, 12.5%, 13%"),
    "body": _words(
        "light-bodied, lean, taut, linear, streamlined, slender, bone-dry, trim, weightless, focused, angular"
    ),
    "texture": _words("crisp, steely, zippy, crystalline, stony, snappy, prickly, tensile, chalky, spritzy"),
    "accent": _words(
        "wet stone, sea spray, chalk, crushed shell, citrus zest, white flower, ginger, saline mineral,"
        " green almond, river rock, tarragon, citrus pith, white pepper, chamomile, cool mint, oyster shell,"
        " verbena"
    ),
    "dish": _words(
        "raw oysters, ceviche, grilled shrimp, goat cheese, steamed mussels, fish tacos, sushi, a Greek salad,"
        " crab cakes, trout with almonds, Thai green curry, fried calamari, clam linguine"
    ),
    "making": (
        "fermented cool in stainless steel, it saw no oak at all.",
        "{months} months on the fine lees give it a {hint} of cream without blunting the edge.",
        "picked early and pressed gently, it clocks in at just {alcohol} alcohol.",
        "old casks and native yeasts bring {texture} {interest} to the {ripe} {note} fruit.",
    ),
    "quip": (
        "it's as brisk as a swim before breakfast.",
        "few whites taste so plainly of rock and rain.",
        "every sip snaps like a clean sheet on the line.",
        'it says "summer" from the first sip.',
    ),
    "now": (
        "Drink now.",
        "serve it well chilled.",
        "Drink now, while it's fresh.",
        "drink it by the seaside.",
    ),
}

STYLES: Mapping[str, Style] = {
    "light red": Style(
        {
            **_RED,
            "body": _words(
                "light- to medium-bodied, medium-bodied, lithe, graceful, slender, fine-boned, nimble,"
                " light-footed, airy"
            ),
            "texture": _words("silky, satiny, supple, sleek, smooth, succulent, polished, tender, lacy"),
            "tannin": _words(
                "fine-grained, supple, delicate, powdery, gentle, sandy, feathery, sleek, refined, lacy, soft, slender"
            ),
            "accent": _words(
                "orange zest, cinnamon, dried herb, black tea, crushed stone, clove, pomegranate, white pepper,"
                " anise, star anise, pipe tobacco, leather, sweet spice, wild thyme, cedar"
            ),
            "hue": _words("a glowing ruby, pale garnet, translucent cherry-red, bright magenta"),
            "dish": _words(
                "roast chicken, grilled salmon, mushroom risotto, duck breast, charcuterie, seared tuna,"
                " roast pork loin,"
                " quail, coq au vin, wild-mushroom tart, veal chops, a plate of salumi"
            ),
            "making": (
                "aged for {months} months in used barrels, it keeps the fruit front and center.",
                "{percent} whole clusters went into the fermenter, adding a {hint} of {accent}.",
                "a gentle extraction and {percent} new oak make for a {texture}, {body} {kind}.",
                "fermented with native yeasts, it was bottled without fining or filtration.",
            ),
            "now": (
                "Drink now.",
                "serve it lightly chilled.",
                "Drink now, slightly cool.",
                "it's ready to pour tonight.",
            ),
        },
        1,
        4,
    ),
    "bold red": Style(
        {
            **_RED,
            "body": _words(
                "full-bodied, broad-shouldered, dense, big-boned, sturdy, concentrated, muscular, brawny,"
                " robust, hefty,"
                " deep, powerful"
            ),
            "texture": _words("velvety, plush, chewy, thick, round, rich, dense, mouthfilling, meaty, saturated"),
            "tannin": _words(
                "firm, chewy, dense, grippy, muscular, dusty, broad, velvety, sturdy, burly, chunky, chocolaty,"
                " rugged, ripe, gravelly"
            ),
            "accent": _words(
                "vanilla, cedar, mocha, toast, clove, cigar box, espresso, dark chocolate, baking spice, sandalwood,"
                " charred oak, leather, grilled meat, licorice, roasted coffee bean, coconut, nutmeg, molasses,"
                " cocoa powder"
            ),
            "hue": _words("an inky purple, nearly black, opaque garnet, a deep, staining crimson"),
            "dish": _words(
                "grilled rib eye, braised short ribs, leg of lamb, venison stew, barbecued brisket, aged Cheddar,"
                " a peppery steak, lamb shanks, beef Bourguignon, smoky ribs, wild boar ragù, blue-cheese burgers,"
                " cassoulet, slow-cooked oxtail"
            ),
            "making": (
                "aged for {months} months in {percent} new French oak, it wears the wood {lightly}.",
                "{months} months in American oak lend {accent} and {accent}.",
                "long maceration pulled out {tannin} tannins and an almost opaque color.",
                "{months} months in barrel have rounded the edges but not the {core} of {note}.",
                "a quarter of the lot saw new barrels, enough to add {accent} and {interest}.",
            ),
            "lightly": _words("lightly, proudly, like a tailored jacket, with ease, openly, a bit heavily"),
        },
        2,
        7,
    ),
    "crisp white": Style(_CRISP, 0, 3),
    # Chardonnay without oak, from the north
    "mineral white": Style(
        {
            **_CRISP,
            "note": _words("green apple, lemon, white peach, lime, pear, grapefruit, yellow plum, quince"),
            "trait": _words("flint, wet stone, oyster shell, iodine, white blossom, gunflint, cream, crushed chalk"),
            "character": (
                "fossil-rich soils seem to speak through the {note} and {trait}.",
                "there's no oak to hide behind, only {note}, {trait} and nerve.",
                "it's Chardonnay stripped to the bone and all the better for it.",
            ),
        },
        1,
        5,
    ),
    "rich white": Style(
        {
            **_WHITE,
            "body": _words(
                "full-bodied, rounded, ample, generous, medium- to full-bodied, broad, weighty, opulent, fleshy"
            ),
            "texture": _words("creamy, silky, plush, waxy, buttery, lush, oily, viscous, honeyed, satiny"),
            "accent": _words(
                "toasted hazelnut, brioche, vanilla bean, butterscotch, beeswax, honeycomb, nutmeg, marzipan,"
                " crème brûlée, buttered toast, warm bread, acacia flower, roasted almond, caramel, oak spice,"
                " crushed stone"
            ),
            "dish": _words(
                "lobster with drawn butter, roast turkey, scallops, pork tenderloin, ripe Brie, chicken pot pie,"
                " pumpkin ravioli, sole in cream sauce, mild curries, roast halibut, corn chowder"
            ),
            "making": (
                "fermented in barrel, with {percent} new oak, it layers {accent} over the {ripe} fruit.",
                "{months} months on the lees, stirred weekly, build a {texture} midpalate.",
                "full malolactic fermentation brings {accent} and a {texture} mouthfeel.",
                "half the juice saw oak and half steel, and the split pays off in {interest}.",
            ),
            "quip": (
                "it's rich, yes, but it never turns heavy.",
                "the oak is there, like good upholstery.",
                "don't serve it too cold: the perfume needs warmth.",
            ),
        },
        1,
        3,
    ),
    "rosé": Style(
        {
            **_WHITE,
            "alcohol": _words("12%, 12.5%, 13%, 13.5%"),
            "kind": _words("rosé, rosé, pink wine, wine, bottling"),
            "body": _words("light-bodied, airy, dry, delicate, slim, breezy, easygoing, bone-dry"),
            "texture": _words("crisp, silky, juicy, snappy, cushiony, smooth, rounded, spritzy"),
            "accent": _words(
                "orange zest, dried herb, sea salt, rose water, crushed stone, pink peppercorn, lavender, fresh fennel"
            ),
            "dish": _words(
                "salade niçoise, grilled prawns, a picnic, bouillabaisse, tapenade toasts, paella, tomato tart,"
                " tuna steak"
            ),
            "making": (
                "pressed after a few hours on the skins, it's {pale} in color.",
                "{pale} in the glass, it was fermented cool to keep the fruit fresh.",
            ),
            "pale": _words("pale salmon, onion-skin pink, the pink of ballet slippers, coral, peach-skin pale"),
            "quip": (
                "it's made for terraces, sandals and long afternoons.",
                "don't overthink it: find shade, find ice, pour.",
                "it has more backbone than the pretty color suggests.",
            ),
            "now": ("Drink now.", "drink it this summer.", "serve it very cold.", "Drink now, by the pool."),
            "drink": ("Drink now.", "Drink now through {to}.", "drink it this summer."),
        },
        0,
        1,
    ),
    "sparkling": Style(
        {
            **_WHITE,
            "alcohol": _words("11%, 11.5%, 12%, 12.5%"),
            "kind": _words("sparkler, sparkler, sparkling wine, bottling, bubbly, cuvée"),
            "body": _words("light-bodied, airy, dry, foamy, delicate, medium-bodied, bone-dry, festive"),
            "texture": _words("frothy, creamy, crisp, lacy, tingling, fine-beaded, silky, mouth-coating"),
            "accent": _words(
                "brioche, toasted almond, biscuit, bread dough, chalk, white flower, candied ginger, citrus zest"
            ),
            "dish": _words(
                "oysters, salted almonds, fried chicken, smoked salmon, gougères, caviar, prosciutto, brunch, sushi"
            ),
            "making": (
                "{months} months on the lees give it toasty depth and a {texture} mousse.",
                "the dosage is low, the bubbles fine and the {feel} {texture}.",
                "fine, persistent bubbles carry the {note} fruit across the palate.",
                "bottled under gentle pressure, it has a {texture} mousse and soft bubbles.",
            ),
            "quip": (
                "pop it for no reason at all.",
                "it's a party in a glass, with manners.",
                "the bubbles tumble and the fruit holds on.",
            ),
            "lapse": (
                "the bubbles are coarse and fade fast.",
                "it's on the sugary side, like soda for grown-ups.",
                "the mousse is foamy, and the middle is hollow.",
            ),
            "origin": (
                "only {cases} cases were made of this {quality} {kind}.",
                "fruit from {site} gives this {kind} its {core} of {note}.",
            ),
            "now": ("Drink now.", "pour it as an aperitif.", "Drink now, well chilled."),
            "drink": ("Drink now.", "Drink now, or age it for a toastier style.", "pour it as an aperitif."),
        },
        2,
        3,
        0.8,
    ),
    "sweet": Style(
        {
            **_WHITE,
            "alcohol": _words("13%, 13.5%, 14%"),
            "kind": _words("sweet wine, dessert wine, nectar, wine, bottling"),
            "body": _words("lusciously sweet, full-bodied, dense, concentrated, opulent, syrupy"),
            "texture": _words("unctuous, viscous, silky, honeyed, creamy, velvety, syrupy"),
            "note": _words(
                "dried apricot, candied orange, peach preserve, poached pear, mango, golden raisin, quince paste"
            ),
            "trait": _words("honey, saffron, botrytis, orange marmalade, ginger, beeswax, caramelized pineapple"),
            "accent": _words(
                "crème brûlée, toasted almond, orange blossom, butterscotch, lemon curd, vanilla, barley sugar"
            ),
            "dish": _words(
                "Roquefort, apple tart, foie gras, lemon meringue pie, panna cotta, blue cheese, almond cake"
            ),
            "making": (
                "shriveled berries, picked in several passes, account for the {core} of {note}.",
                "{months} months in barrel add {accent} without dulling the fruit.",
            ),
            "character": (
                "noble rot has concentrated everything: the sugar, the acidity and the price.",
                "the sweetness is immense, yet {acid} acidity keeps it off the ropes.",
            ),
            "quip": ("a thimbleful is a dessert in itself.", "it's liquid gold, and it glows like it."),
            "now": ("Drink now.", "serve it cold, in small glasses."),
        },
        2,
        12,
    ),
    "fortified": Style(
        {
            **_RED,
            "alcohol": _words("19%, 19.5%, 20%"),
            "kind": _words("Port, Port, wine, fortified wine, bottling"),
            "body": _words("full-bodied, sweet, dense, rich, powerful, generous"),
            "texture": _words("velvety, syrupy, warming, plush, smooth, opulent, chewy"),
            "tannin": _words("firm, dusty, ripe, dense, mellow, solid, chewy, resolved"),
            "accent": _words(
                "dark chocolate, toffee, licorice, walnut, caramel, bitter orange, cedar, clove, eucalyptus"
            ),
            "hue": _words("an opaque purple, burnished mahogany, tawny at the rim"),
            "dish": _words("Stilton, walnuts, chocolate torte, pecan pie, a good cigar, aged Gouda"),
            "making": (
                "years in old casks have turned the fruit toward {accent} and {trait}.",
                "trodden by foot in granite troughs, it has {tannin} tannins under the sugar.",
            ),
            "origin": (
                "only {cases} cases were made of this {quality} {kind}.",
                "terraces of schist above the river gave the fruit for this {quality} {kind}.",
            ),
            "now": ("Drink now.", "pour it after dinner."),
            "drink": ("Drink now.", "it will keep for decades.", "pour it after dinner, or lay it down for years."),
        },
        3,
        20,
        0.7,
    ),
}

CLIMATES: Mapping[str, Table] = {
    "cool": {
        "ripe": _words("crunchy, tart, just-ripe, bright, snappy, cool-toned, tangy, pure, crisp, pristine, fresh"),
        "acid": _words(
            "bright, brisk, racy, zesty, nervy, electric, mouthwatering, tangy, vibrant, bracing, piercing,"
            " lip-smacking,"
            " cutting, tingly"
        ),
        "alcohol": _words("11%, 11.5%, 12%, 12.5%, 12.8%, 13%"),
        "origin": (
            *SHARED["origin"],
            "cool nights in {region} kept the fruit {ripe} and the alcohol at a modest {alcohol}.",
            "a long, chilly autumn in {vintage} drew out the ripening, and the {acid} acidity is the reward.",
            "fog, wind and {soil} leave their print on this {quality} {kind}.",
            "rain threatened the {vintage} harvest, but careful sorting saved this {quality} {kind}.",
        ),
    },
    "mild": {
        "ripe": _words("juicy, ripe, fresh, bright, succulent, pure, fleshy, well-defined, tasty, supple, vivid"),
        "acid": _words(
            "fresh, lively, juicy, balanced, well-judged, bright, crisp, vibrant, steady, firm, snappy, clean"
        ),
        "alcohol": _words("12.5%, 13%, 13.2%, 13.5%, 13.8%, 14%"),
        "origin": (
            *SHARED["origin"],
            "the even {vintage} season in {region} brought ripeness without heat, and {alcohol} alcohol.",
            "sunny days and mild evenings shaped this {quality} {kind}.",
            "{vintage} was kind to {region}, and this {quality} {kind} makes the most of it.",
        ),
    },
    "warm": {
        "ripe": _words(
            "sunny, ripe, plump, lush, luscious, sweet, opulent, mellow, sun-drenched, dense, generous, heady"
        ),
        "acid": _words(
            "balancing, refreshing, fresh, welcome, rounded, steady, sufficient, timely, ample, measured, good"
        ),
        "alcohol": _words("14%, 14.2%, 14.5%, 14.8%, 15%, 15.2%"),
        "origin": (
            *SHARED["origin"],
            "the hot {vintage} season in {region} shows in the {ripe} {note} fruit.",
            "relentless sunshine and {soil} make for a {quality}, {body} {kind}.",
            "an afternoon breeze spares the vines of {region} the worst of the heat, and this {kind} stays {quality}.",
        ),
    },
}

# from the lowest up: a wine belongs to the last tier whose points it reaches
TIERS: tuple[Tier, ...] = (
    Tier(
        0,
        {
            "review": (
                "{nose} {sip} {verdict}",
                "{nose} {sip} {finale} {lapse}",
                "{nose} {palate} {lapse}",
                "{nose} {palate} {verdict}",
                "{verdict} {nose} {sip} {finale}",
                "{nose} {sip} {lapse} {value} {now}",
                "{nose} {sip} {lapse} {now}",
                "{nose} {palate} {value}",
            ),
            "cheap": (
                "at this price, no one should complain too loudly.",
                "it's cheap, and it tastes that way.",
            ),
            "fair": (
                "look elsewhere in {region} for a truer example.",
                "better bottles from {region} are easy to find.",
            ),
            "dear": (
                "the price seems to belong on another label.",
                "for this money, you can do much better.",
            ),
            "quality": _words("simple, straightforward, basic, everyday, modest, unpretentious, rustic, plain, gruff"),
            "scent": _words("muted, faint, shy, simple, blunt, slightly raw, reticent, dusty, candied, scattered"),
            "finish": _words("short, abrupt, quick, brief, dilute, clipped, blunt, fleeting, hasty"),
            "simple": _words("a bit dilute, rather plain, one-dimensional, slightly sour, modest, on the thin side"),
            "verdict": (
                "it's clean enough but lacks depth and fades quickly.",
                "there's little here beyond simple fruit.",
                "it's drinkable, but you may not remember it tomorrow.",
                "the parts never quite come together.",
                "fine for a big party, where nobody takes notes.",
                "it tries hard, yet the middle falls away.",
                "more fruit and less ambition would have helped.",
                "it's a {quality} {kind} for undemanding evenings.",
                "a difficult year in {region} may explain the thin middle.",
            ),
        },
    ),
    Tier(
        85,
        {
            "review": (
                "{nose} {palate} {finale}",
                "{nose} {palate} {finale} {value}",
                "{nose} {palate} {finale} {food}",
                "{nose} {palate} {balance} {verdict}",
                "{nose} {sip} {making} {finale}",
                "{origin} {nose} {palate} {finale}",
                "{making} {nose} {palate} {verdict}",
                "{nose} {character} {sip} {finale}",
                "{nose} {palate} {finale} {now}",
                "{verdict} {nose} {palate} {balance}",
                "{nose} {palate} {quip} {value}",
                "{nose} {sip} {verdict} {now}",
                "{character} {nose} {palate} {food}",
                "{verdict} {nose} {sip} {food}",
                "{nose} {palate} {food} {now}",
            ),
            "cheap": (
                "it's good value and easy to enjoy.",
                "for the price, you could hardly ask for more.",
                "stock up for the season.",
            ),
            "fair": (
                "it's a dependable introduction to {region}.",
                "it's an easy smile in a glass.",
            ),
            "dear": (
                "you're paying partly for the name on the label.",
                "pleasant as it is, the price asks for more.",
            ),
            "quality": _words(
                "appealing, friendly, well-made, satisfying, likable, balanced, tasty, generous, approachable,"
                " cheerful,"
                " solid, enjoyable, attractive, easygoing, pleasing, reliable"
            ),
            "scent": _words("fresh, inviting, ripe, bright, open, pleasant, clean, forward, gentle, attractive"),
            "finish": _words(
                "clean, smooth, pleasant, tidy, medium-length, savory, juicy, easy, spicy, gentle, lively"
            ),
            "simple": _words("fresh and direct, easy to like, well balanced, clean and juicy, generous, nicely ripe"),
            "verdict": (
                "this won't change your life, but it will improve your dinner.",
                "everything is in proportion, if not especially deep.",
                "buy it by the case for {occasion}.",
                "it doesn't aim for complexity, and it doesn't need to.",
                "straightforward and well made, it delivers what the label promises.",
                "charm rather than power is the point here.",
                "a {quality} {kind}, it has more going on than most at this price.",
                "it's an honest, unfussy {kind} for {occasion}.",
            ),
        },
    ),
    Tier(
        89,
        {
            "review": (
                "{nose} {palate} {balance} {finale} {drink}",
                "{nose} {palate} {making} {finale}",
                "{verdict} {nose} {palate} {finale} {drink}",
                "{nose} {character} {palate} {finale} {drink}",
                "{nose} {palate} {balance} {verdict}",
                "{making} {nose} {palate} {finale}",
                "{origin} {nose} {palate} {verdict} {drink}",
                "{nose} {palate} {quip} {finale} {drink}",
                "{nose} {palate} {balance} {making} {drink}",
                "{nose} {palate} {character} {finale}",
                "{nose} {palate} {finale} {value} {drink}",
                "{verdict} {nose} {palate} {finale} {food}",
                "{nose} {palate} {finale} {drink}",
            ),
            "cheap": (
                "quality like this seldom comes so cheap.",
                "it's a bargain, pure and simple.",
                "at this price, it should come by the truckload.",
            ),
            "fair": (
                "it's well worth seeking out.",
                "it deserves a wider following.",
                "sommeliers will want it by the glass.",
            ),
            "dear": (
                "the price may raise an eyebrow, but the quality answers it.",
                "it's a splurge, though a justified one.",
                "collectors will want a bottle or two.",
            ),
            "quality": _words(
                "polished, elegant, complex, expressive, beautifully balanced, refined, harmonious, stylish,"
                " poised, serious,"
                " impressive, finely tuned, graceful, characterful, compelling, distinctive"
            ),
            "scent": _words("lifted, complex, fragrant, enticing, perfumed, vivid, expressive, alluring, seductive"),
            "finish": _words(
                "long, lingering, persistent, elegant, savory, layered, polished, lengthy, pure, graceful"
            ),
            "verdict": (
                "there's real depth here, and the balance to carry it.",
                "it strikes a fine balance between power and finesse.",
                "delicious from the first sip, it never tires the palate.",
                "this shows just how good {region} can be.",
                "it's a step up from the estate's regular bottling, with more {interest} and length.",
                "nothing is out of place in this {quality} {kind}.",
                "restraint is the watchword, and it pays off in {interest}.",
                "it gains in {interest} with every return to the glass.",
                "still youthful, it's knitting together nicely.",
                "a {quality} {kind} like this makes a strong case for {region}.",
                "this may be the best {kind} yet from this cellar.",
                "it shows a confident hand and very good fruit.",
            ),
        },
    ),
    Tier(
        93,
        {
            "review": (
                "{verdict} {nose} {palate} {finale} {drink}",
                "{nose} {character} {palate} {verdict} {drink}",
                "{origin} {nose} {palate} {balance} {finale} {drink}",
                "{nose} {palate} {making} {verdict} {drink}",
                "{verdict} {making} {nose} {palate} {drink}",
                "{nose} {palate} {character} {finale} {value} {drink}",
                "{nose} {palate} {balance} {verdict} {quip} {drink}",
                "{verdict} {nose} {palate} {finale} {food} {drink}",
                "{nose} {origin} {palate} {verdict} {value}",
            ),
            "cheap": (
                "at this price, buy all that you can carry.",
                "quality like this at such a price is a small miracle.",
            ),
            "fair": (
                "it stands shoulder to shoulder with the great names of {region}.",
                "seek it out, whatever it takes.",
            ),
            "dear": (
                "it's expensive, and worth every cent.",
                "the price is steep, but so is the climb to quality like this.",
                "save it for an anniversary that matters.",
            ),
            "quality": _words(
                "profound, majestic, thrilling, magnificent, extraordinary, spellbinding, impeccable,"
                " monumental, ravishing,"
                " breathtaking, masterful, regal, sensational"
            ),
            "scent": _words("intoxicating, soaring, heady, mesmerizing, beguiling, hypnotic, captivating, haunting"),
            "finish": _words(
                "endless, seemingly endless, haunting, remarkably long, resonant, spectacular, unhurried, echoing"
            ),
            "verdict": (
                "this is a towering achievement from a producer at the top of its game.",
                "everything is in place here: depth, detail, balance and sheer pleasure.",
                "it manages to be both powerful and weightless, the mark of a great site.",
                "words struggle to keep up with a {kind} this complete.",
                "among the best that {region} has to offer, it's worth every effort to find.",
                "a masterpiece of balance, it rewards slow and thoughtful sipping.",
                "the concentration is stunning, yet nothing feels forced.",
                "layer after layer emerges as it opens, each more compelling than the last.",
                "it combines the generosity of a ripe year with the nobility of a {quality} vineyard.",
                "this sets a new benchmark for the estate, and perhaps for {region} as well.",
                "if you buy one {kind} this year, make it this one.",
                "{quality} from start to finish, it stops conversation at the table.",
            ),
        },
    ),
)

VARIETIES: Mapping[str, Variety] = dict(
    (
        _grape(
            "light red",
            "Pinot Noir",
            "red cherry, raspberry, cranberry, wild strawberry, pomegranate, black cherry, red plum, rhubarb",
            "forest floor, dried rose, mushroom, cola, truffle, sassafras, damp earth, violet",
            "like all good Pinot, it whispers where others shout.",
            "the {note} fruit is sheer as silk, with {trait} beneath it.",
            "there's a Burgundian tilt to the {trait} and {accent}.",
        ),
        _grape(
            "light red",
            "Gamay",
            "red cherry, raspberry, strawberry, blueberry, cranberry, banana, red currant",
            "violet, peony, granite, bubble gum, peppercorn, fresh earth",
            "this is Gamay at its most gulpable, all {note} and {trait}.",
            "carbonic maceration lends a {hint} of {trait} and a purple sheen.",
            "beneath the bouncing {note} fruit lies a firm bed of granite.",
        ),
        _grape(
            "light red",
            "Nebbiolo",
            "red cherry, sour cherry, raspberry, cranberry, wild strawberry, dried cherry, red currant",
            "tar, rose, rose petal, white truffle, menthol, camphor, leather, iris, dried rose",
            "don't be fooled by the pale color: Nebbiolo tannins grip like a handshake.",
            "tar and roses, the old signature of the grape, are written all over it.",
            "the tannins are noble and tightly wound, and they need {dish}.",
        ),
        _grape(
            "light red",
            "Sangiovese",
            "sour cherry, red cherry, dried cherry, plum, red currant, wild strawberry, cranberry",
            "violet, dried oregano, tobacco leaf, leather, sun-baked earth, tomato leaf, iris",
            "a classic mix of {note}, {trait} and savory bite.",
            "sour cherry and herb, dust and leather: this is Sangiovese without makeup.",
            "it cries out for tomato sauce, or better still for {dish}.",
        ),
        _grape(
            "bold red",
            "Sangiovese Grosso",
            "black cherry, dried cherry, red plum, wild berry, prune, sour cherry",
            "tobacco leaf, leather, iris, underbrush, truffle, tilled soil, balsamic herb",
            "years in large casks have tamed the tannins of this Brunello, though not entirely.",
            "{note} and {trait} meet in a Brunello of old-school severity.",
        ),
        _grape(
            "light red",
            "Barbera",
            "black cherry, blackberry, plum, raspberry, sour cherry, blueberry",
            "violet, licorice, baking spice, black pepper, fresh earth, balsamic herb",
            "high acidity and low tannin make Barbera the pizza wine of dreams.",
            "it's plump with {note}, yet the acidity keeps it on its toes.",
        ),
        _grape(
            "light red",
            "Grenache",
            "raspberry, strawberry jam, red cherry, kirsch, candied cranberry, red plum",
            "garrigue, lavender, white pepper, dried thyme, licorice, warm stone",
            "old-vine Grenache gives {note} a glow like late afternoon light.",
            "there's the scent of a hot hillside here, all {trait} and {accent}.",
        ),
        _grape(
            "light red",
            "Zweigelt",
            "sour cherry, red cherry, raspberry, blackberry, elderberry, blueberry",
            "peppercorn, cinnamon, violet, wood smoke, peony, moss",
            "it's juicy, peppery and made to be poured from a carafe.",
            "Zweigelt rarely gets this {texture}, with {note} to spare.",
        ),
        _grape(
            "light red",
            "Blaufränkisch",
            "blackberry, blueberry, sour cherry, bramble, damson, black cherry",
            "black pepper, iron, graphite, allspice, violet, wood smoke",
            "pepper and iron are the hallmarks of the grape, and both are here.",
            "the {note} fruit is dark, the {trait} darker still.",
        ),
        _grape(
            "bold red",
            "Cabernet Sauvignon",
            "cassis, black currant, blackberry, black cherry, plum, blueberry, red currant",
            "graphite, cedar, pencil lead, tobacco leaf, bay leaf, green bell pepper, eucalyptus, dried sage",
            "classic Cabernet markers of {note} and {trait} come through loud and clear.",
            "the spine is pure Cabernet: straight, stern and built to last.",
            "a small dose of Merlot softens the edges of the {note} fruit.",
        ),
        _grape(
            "bold red",
            "Merlot",
            "plum, black cherry, blueberry, red currant, blackberry, raspberry, baked plum",
            "cocoa, bay leaf, violet, dried herb, graphite, fruitcake, olive",
            "here's a Merlot with enough backbone to silence the skeptics.",
            "the {note} fruit is as soft as a favorite armchair.",
        ),
        _grape(
            "bold red",
            "Cabernet Franc",
            "raspberry, red currant, black cherry, cranberry, blackberry, plum",
            "green bell pepper, dried sage, violet, pencil lead, tomato leaf, jalapeño, tobacco leaf, graphite",
            "leafy in the best sense, it sets {trait} against {ripe} {note}.",
            "Franc fans will recognize the {trait} at once.",
        ),
        _grape(
            "bold red",
            "Syrah",
            "blackberry, blueberry, black plum, boysenberry, black olive, black cherry",
            "cracked pepper, smoked meat, violet, bacon fat, lavender, tapenade, beef jerky, iodine",
            "pepper, smoke and violets: it could be nothing but Syrah.",
            "it balances the savory ({trait}, {accent}) with the sweet ({note}).",
            "a splash of Viognier lifts the perfume of {trait} and {note}.",
        ),
        _grape(
            "bold red",
            "Shiraz",
            "blackberry, boysenberry, black plum, blueberry jam, mulberry, black cherry",
            "cracked pepper, eucalyptus, licorice, smoked meat, mint, dark chocolate, violet",
            "subtlety isn't the point of this Shiraz, and thank goodness for that.",
            "mint and eucalyptus stamp it as Australian from the first whiff.",
        ),
        _grape(
            "bold red",
            "Zinfandel",
            "brambly blackberry, raspberry, boysenberry, strawberry jam, dried cranberry, black cherry, blueberry pie",
            "black pepper, briar, cinnamon, dried fig, cardamom, wild sage, barbecue smoke",
            "the head-trained vines give brambly fruit by the bucket, and {alcohol} alcohol to match.",
            "it's Zin with the top down, heading for the barbecue.",
        ),
        _grape(
            "bold red",
            "Petite Sirah",
            "blueberry, blackberry, black plum, boysenberry, elderberry, prune",
            "black pepper, licorice, lavender, iron, tar, dark chocolate, ink",
            "it stains the glass, the teeth and the memory.",
            "nothing about it is petite, least of all the {tannin} tannins.",
        ),
        _grape(
            "bold red",
            "Malbec",
            "blackberry, black plum, boysenberry, black cherry, blueberry, raspberry",
            "violet, lavender, licorice, graphite, balsamic herb, leather, purple flower",
            "high-altitude sun gives this Malbec its thick skin and its {note} heart.",
            "violets and {note}, the twin calling cards of Malbec, ring true.",
        ),
        _grape(
            "bold red",
            "Carmenère",
            "black plum, blackberry, cassis, dark cherry, raspberry, blueberry",
            "green peppercorn, roasted red pepper, olive, tobacco leaf, herbal tea, soy, paprika",
            "the grape's herbal streak is here, balanced by {ripe} {note}.",
            "it was picked late enough to turn green pepper into paprika.",
        ),
        _grape(
            "bold red",
            "Tempranillo",
            "red cherry, dried cherry, black plum, blackberry, red plum, raspberry, prune",
            "tobacco leaf, leather, dill, dried fig, balsamic herb, saddle soap, dried orange",
            "American oak leaves its calling card of dill, vanilla and coconut.",
            "it has the leathery, {trait} scent of an old library.",
            "{note} and {trait} sit side by side, as they do in traditional Tempranillo.",
        ),
        _grape(
            "bold red",
            "Pinotage",
            "mulberry, black plum, blackberry, banana, raspberry, black cherry",
            "wood smoke, rooibos, fynbos, tar, roasted coffee, red licorice",
            "the smoky edge of Pinotage is in check, letting {note} do the talking.",
            "rooibos and fynbos mark it as a child of the Cape.",
        ),
        _grape(
            "bold red",
            "Touriga Nacional",
            "blackberry, black plum, damson, blueberry, black cherry, mulberry",
            "violet, bergamot, rockrose, dark mint, licorice, schist",
            "bergamot and violet, so typical of Touriga, drift above the {note} fruit.",
            "the tannins come from schist and sunshine, and they aren't shy.",
        ),
        _grape(
            "bold red",
            "Nero d'Avola",
            "black cherry, black plum, blackberry, mulberry, raspberry jam, dried cherry",
            "Mediterranean herb, carob, licorice, sun-warmed earth, dried oregano, blood orange",
            "Sicilian sunshine and a sea breeze are bottled together here.",
            "a {hint} of {trait} gives an island accent to the {note}.",
        ),
        _grape(
            "bold red",
            "Aglianico",
            "black cherry, plum, sour cherry, blackberry, dried cherry, prune",
            "volcanic ash, leather, iron, dried tobacco, scorched earth, balsamic herb",
            "the volcano has the last word, in {trait} and smoke.",
            "tannic and brooding, it's an Aglianico to forget in the cellar.",
        ),
        _grape(
            "bold red",
            "Montepulciano",
            "black cherry, blackberry, plum, mulberry, sour cherry, wild berry",
            "licorice, dried herb, black pepper, violet, tobacco leaf, grilled sage",
            "it's a bear hug of a wine from the hills of the Adriatic coast.",
            "plenty of {note}, a pinch of {trait}, and dinner is served.",
        ),
        _blend(
            "bold red",
            "Corvina, Rondinella, Molinara",
            "Red",
            ("70% Corvina, 20% Rondinella and 10% Molinara", "80% Corvina, 15% Rondinella and 5% Molinara"),
            "dried cherry, black cherry, prune, raisin, baked plum, sour cherry",
            "dried fig, balsamic herb, bitter almond, cinnamon, tobacco leaf, cocoa",
            "months of drying on bamboo racks have turned the grapes toward {note} and {trait}.",
            "a bitter-almond twist keeps the sweet {note} honest.",
        ),
        _grape(
            "bold red",
            "Monastrell",
            "blackberry, black plum, baked cherry, raisin, blueberry, mulberry",
            "black olive, dried thyme, game, wild rosemary, tar, scorched earth",
            "sun-struck bush vines give it the taste of {note} and the smell of {trait}.",
            "it's a brooding, sunburned red with dirt under its nails.",
        ),
        _blend(
            "bold red",
            "Red Blend",
            "Red",
            (
                "Cabernet Sauvignon, Syrah and Merlot",
                "Syrah and Cabernet Sauvignon",
                "Merlot and Sangiovese",
                "60% Syrah and 40% Merlot",
                "45% Cabernet Sauvignon, 35% Syrah and 20% Petit Verdot",
            ),
            "blackberry, plum, black cherry, blueberry, raspberry, black currant, boysenberry",
            "violet, dried herb, black pepper, tobacco leaf, licorice, cola, pressed flower",
            "it's a kitchen-sink blend in which somebody kept count.",
        ),
        _blend(
            "bold red",
            "Bordeaux-style Red Blend",
            "Red",
            (
                "Merlot and Cabernet Franc",
                "60% Merlot, 30% Cabernet Sauvignon and 10% Cabernet Franc",
                "75% Cabernet Sauvignon, 20% Merlot and 5% Petit Verdot",
                "Cabernet Sauvignon, Merlot and a drop of Malbec",
                "80% Merlot and 20% Cabernet Franc",
            ),
            "cassis, black currant, plum, black cherry, blackberry, red currant",
            "graphite, cedar, pencil lead, tobacco leaf, violet, cigar box, bay leaf, gravel",
            "the Merlot brings the flesh, the Cabernet brings the bones.",
            "there's a claret-like coolness to the {note} and {trait}.",
        ),
        _blend(
            "bold red",
            "Rhône-style Red Blend",
            "Red",
            (
                "Grenache, Syrah and Mourvèdre",
                "50% Grenache, 30% Syrah and 20% Mourvèdre",
                "70% Grenache and 30% Syrah",
                "Syrah, Carignan and Cinsault",
            ),
            "raspberry, black cherry, strawberry jam, blackberry, kirsch, black plum",
            "garrigue, lavender, cracked pepper, licorice, black olive, smoked meat, dried thyme",
            "Grenache sings the melody while Syrah and Mourvèdre hold the bass.",
            "you can almost hear the cicadas in the {trait} and {note}.",
        ),
        _blend(
            "bold red",
            "Portuguese Red",
            "Red",
            (
                "Touriga Nacional, Touriga Franca and Tinta Roriz",
                "Aragonez, Trincadeira and Alicante Bouschet",
                "50% Touriga Nacional and 50% Tinta Roriz",
            ),
            "blackberry, black plum, red cherry, damson, mulberry, black cherry",
            "violet, schist, rockrose, licorice, bergamot, dried fig",
            "it's packed with {note} from vines that cling to the schist.",
            "a wood-aged {kind}, it moves from {note} to {trait} as it opens.",
        ),
        _grape(
            "crisp white",
            "Sauvignon Blanc",
            "grapefruit, gooseberry, passionfruit, lime, white peach, kiwi, green apple, guava",
            "cut grass, gooseberry, bell pepper, nettle, boxwood, lemongrass, elderflower, flint, tomato leaf",
            "the nose all but jumps out of the glass, with {trait} leading the way.",
            "it's unmistakably Sauvignon, from the {trait} to the mouthwatering {note}.",
            "pungent and proud of it, this one wears its {trait} on its sleeve.",
        ),
        _grape(
            "crisp white",
            "Riesling",
            "lime, green apple, white peach, apricot, lemon, tangerine, grapefruit, nectarine",
            "petrol, slate, honeysuckle, wet slate, jasmine, linden blossom, honey",
            "a whisper of residual sugar is held in check by {acid} acidity.",
            "lime and slate are woven so tightly that you can't part them.",
            "off dry but never cloying, it dances on a wire of {acid} acidity.",
        ),
        _grape(
            "crisp white",
            "Grüner Veltliner",
            "green pear, green apple, lemon, grapefruit, yellow plum, lime",
            "white pepper, radish, arugula, lentil, celery leaf, green bean, dill",
            "the famous pepper is here, cracked fresh over {note}.",
            "it's green in name and nature, down to the {trait}.",
        ),
        _grape(
            "crisp white",
            "Albariño",
            "lime, white peach, green melon, apricot, nectarine, tangerine, lemon",
            "sea spray, orange blossom, brine, honeysuckle, citrus peel, iodine",
            "you can taste the Atlantic in every briny sip.",
            "peach and brine, the two poles of Albariño, are in balance.",
        ),
        _grape(
            "crisp white",
            "Pinot Grigio",
            "yellow apple, pear, white peach, lemon, green melon, nectarine",
            "almond blossom, acacia, hay, chamomile, bitter almond, alpine herb",
            "it's a cut above the usual poolside Pinot Grigio.",
            "mountain air seems to blow through the {note} and {trait}.",
        ),
        _grape(
            "crisp white",
            "Verdejo",
            "lime, grapefruit, green apple, passionfruit, green melon, peach",
            "fennel, cut grass, bay leaf, lettuce, fresh hay, lemongrass",
            "a bitter, fennel-like snap is the grape's own signature.",
            "it's tropical on the nose, then green and grassy in the mouth.",
        ),
        _grape(
            "crisp white",
            "Torrontés",
            "lychee, white grape, peach, lime, mandarin, melon",
            "rose petal, jasmine, orange blossom, geranium, soap, lavender",
            "floral to a fault, it smells like a florist's shop in May.",
            "the sweet perfume of jasmine is a tease: the wine is dry.",
        ),
        _grape(
            "crisp white",
            "Vermentino",
            "white peach, lemon, green apple, pear, grapefruit, yellow plum",
            "broom, Mediterranean scrub, sea salt, rosemary, almond, white sage",
            "it smells of the coast, where scrub meets salt.",
            "a bitter-almond note, typical of Vermentino, ends the show.",
        ),
        _grape(
            "crisp white",
            "Garganega",
            "yellow apple, white peach, lemon, pear, mandarin, melon",
            "almond, chamomile, acacia, hay, volcanic stone, white flower",
            "volcanic soils lend a smoky undertow to the {note}.",
            "this is Soave with a spine, and with {trait} for charm.",
        ),
        _grape(
            "crisp white",
            "Chenin Blanc",
            "quince, green apple, yellow pear, honeydew, lemon, apricot, pineapple",
            "wet wool, honey, chamomile, lanolin, beeswax, hay, ginger",
            "a {hint} of wet wool is a family trait, and a welcome one.",
            "it's both honeyed and dry, a trick that Chenin does best.",
        ),
        _blend(
            "crisp white",
            "Portuguese White",
            "White",
            (
                "Alvarinho and Loureiro",
                "Arinto and Antão Vaz",
                "Loureiro, Arinto and Trajadura",
                "Viosinho, Rabigato and Gouveio",
            ),
            "lime, green apple, white peach, lemon, pear, grapefruit",
            "citrus peel, fresh almond, sea breeze, white flower, cut grass, spritz",
            "a light prickle on the tongue adds to the fun.",
            "it's a wine for the shade of a fig tree and a plate of {dish}.",
        ),
        _grape(
            "rich white",
            "Chardonnay",
            "yellow apple, Bosc pear, lemon curd, pineapple, white peach, mango, baked apple, honeydew",
            "hazelnut, toasted oak, butter, vanilla, brioche, popcorn, wet stone, cream, vanilla custard",
            "the oak and the fruit have signed a truce, and {note} benefits.",
            "fans of big, buttery Chardonnay will feel at home; so will the rest of us.",
            "there's a mineral vein here that keeps the {trait} in line.",
        ),
        _grape(
            "rich white",
            "Viognier",
            "apricot, yellow peach, mango, tangerine, nectarine, mandarin, pear",
            "honeysuckle, orange blossom, jasmine, musk, ginger, white blossom",
            "it's Viognier in full bloom, just this side of too much.",
            "apricot and honeysuckle fill the room before the cork is out.",
        ),
        _grape(
            "rich white",
            "Pinot Gris",
            "Bosc pear, yellow apple, peach, melon, quince, nectarine, tangerine",
            "honey, ginger, smoke, hay, almond skin, rose petal, mushroom",
            "there's a {hint} of smoke and honey, as there should be in Pinot Gris.",
            "it sits neatly between dry and sweet, with pear on both sides.",
        ),
        _grape(
            "rich white",
            "Gewürztraminer",
            "lychee, mango, peach, pink grapefruit, apricot, guava",
            "rose petal, Turkish delight, ginger, cinnamon, potpourri, clove",
            "lychee and rose petals are turned up to full volume.",
            "spice, perfume and a {hint} of sweetness make it the life of the table.",
        ),
        _blend(
            "rich white",
            "White Blend",
            "White",
            (
                "Chardonnay and Viognier",
                "Sauvignon Blanc, Chardonnay and Muscat",
                "60% Chardonnay and 40% Pinot Bianco",
                "Friulano, Malvasia and Ribolla Gialla",
                "Chenin Blanc, Viognier and Clairette",
            ),
            "peach, pear, grapefruit, yellow apple, apricot, melon, pineapple",
            "white flower, honeysuckle, almond, ginger, honey, Mediterranean herb, broom",
            "every grape in the blend gets a line to speak.",
        ),
        _blend(
            "rich white",
            "Bordeaux-style White Blend",
            "White",
            (
                "Sauvignon Blanc and Sémillon",
                "70% Sauvignon Blanc and 30% Sémillon",
                "60% Sémillon and 40% Sauvignon Blanc",
            ),
            "grapefruit, white peach, lemon, pear, fig, gooseberry",
            "beeswax, boxwood, lanolin, cut grass, smoke, honeysuckle",
            "Sauvignon gives the cut, Sémillon the cushion.",
        ),
        _blend(
            "rosé",
            "Rosé",
            "Rosé",
            ("Grenache and Cinsault", "Cinsault, Grenache and Syrah", "Pinot Noir and Gamay"),
            "strawberry, watermelon, raspberry, red currant, white peach, cherry, pink grapefruit, cranberry",
            "rose petal, orange peel, wild herb, melon rind, sea breeze, hibiscus",
            "strawberry and watermelon do the work, and {trait} adds the polish.",
        ),
        _blend(
            "sparkling",
            "Sparkling Blend",
            "Sparkling",
            (
                "Macabeo, Xarel-lo and Parellada",
                "Chardonnay and Pinot Noir",
                "Pinot Noir, Chardonnay and Pinot Meunier",
            ),
            "green apple, lemon, white peach, pear, lime, clementine, nectarine",
            "toast, almond, wet stone, white flower, bread crust, yeast",
            "the bubbles are fine, the apple flavors finer.",
        ),
        _blend(
            "sparkling",
            "Champagne Blend",
            "Brut",
            (
                "Chardonnay and Pinot Noir",
                "Pinot Noir, Pinot Meunier and Chardonnay",
                "60% Pinot Noir, 25% Chardonnay and 15% Pinot Meunier",
            ),
            "green apple, lemon, white cherry, grapefruit, pear, quince, red apple",
            "brioche, chalk, toast, hazelnut, warm pastry, white blossom",
            "chalk and brioche, apple and cream: the arithmetic of good Champagne.",
        ),
        _grape(
            "sparkling",
            "Glera",
            "white peach, pear, green apple, melon, lemon, white grape",
            "acacia, wisteria, white flower, almond, sage, honeydew",
            "it's breezy and blossom-scented, as Prosecco should be.",
            "pear and wisteria float on a soft cloud of foam.",
        ),
        _blend(
            "fortified",
            "Port",
            "Port",
            ("Touriga Nacional and Touriga Franca", "traditional Douro grapes"),
            "black plum, blackberry jam, prune, fig, dried cherry, raisin",
            "dark chocolate, walnut, burnt orange, burnt sugar, spirit, violet, nutmeg",
            "fire and sugar are in balance, with {trait} to tell them apart.",
        ),
    )
)
