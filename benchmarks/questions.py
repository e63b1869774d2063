"""Ask models of the bundled sample 50 questions whose answers the sample's grammar determines.

python benchmarks/questions.py runs/sample runs/sample43 runs/sample44
python benchmarks/questions.py --write

The questions are in questions.jsonl. --write makes them again: reviews that the grammar writes with a seed that is not
the sample's, cut before what is asked. There are three forms:

fruit: read are the first two sentences. The answer is a fruit of the variety that they do not name; the other choices
    are fruits that the grammar never gives this variety.
food: read are the sentences before the dish. The answer is the review's dish; the other choices are dishes of other
    styles of wine.
ready: read are all sentences but the last. That one says that the wine is to be drunk now, which the grammar says of
    simple wines, or that it should be kept, which the grammar says of good ones.

All choices occur in the sample's training reviews.

The output is a Markdown table of right answers, of the models by three scores and of what needs no model.
"""

import argparse
import dataclasses
import functools
import json
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.sample_grammar.grammar import WINES, generate_records
from tools.sample_grammar.lexicon import STYLES, VARIETIES
from wine_gpt.config import DataConfig
from wine_gpt.data.reviews import load_reviews
from wine_gpt.data.template import CLASS_TEMPLATE, COMPOSED
from wine_gpt.markdown import table
from wine_gpt.modeling.pretrained import load_model_and_tokenizer
from wine_gpt.tasks.questions import Answer, Question, answer_question

# what the answers are sorted by, with the names of lm-evaluation-harness
SCORES: dict[str, Callable[[Answer], float]] = {
    # acc
    "log likelihood": lambda answer: answer.log_likelihood,
    # for choices of different lengths; acc_norm divides by bytes
    "per token": lambda answer: answer.log_likelihood / answer.tokens,
    # acc_mutual_info: Holtzman et al. 2021, "Surface Form Competition: Why the Highest Probability Answer Isn't Always
    # Right"
    "gain": lambda answer: answer.log_likelihood - answer.without_review,
}
FILE = Path(__file__).with_suffix(".jsonl")
SEED = 2026
COUNTS = {"fruit": 18, "food": 16, "ready": 16}
TEXTS = {"fruit": "flavors of", "food": "pair it with", "ready": "drink"}
# the sentences that mean the one or the other, by their first words
READY, KEEP = ("Drink now.", "Drink now,", "Drink now:"), ("Hold until", "Drink from", "Give it until", "Cellar it")
# styles that are drunk now whether they are good or not, or kept for decades
OTHER_STYLES = {"rosé", "sparkling", "sweet", "fortified"}


@dataclass(frozen=True)
class Asked:
    """A question about a review, and the index of its true choice."""

    form: str
    header: str
    review: str
    question: str
    choices: list[str]
    answer: int

    @property
    def variety(self) -> str:
        """The variety that the header names."""
        return self.header.split(" : ")[-1].removesuffix(" :")


def main() -> None:
    """Write the questions, or ask them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if arguments.write:
        lines = [json.dumps(dataclasses.asdict(asked), ensure_ascii=False) for asked in write_questions()]
        FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if arguments.runs:
        questions = read_questions()
        print(to_markdown(questions, {**without_model(questions), **by_models(questions, arguments.runs)}))


def read_questions() -> list[Asked]:
    """Return the questions of the file."""
    return [Asked(**json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines()]


# --- the questions and their truth


def write_questions() -> Iterator[Asked]:
    """Yield the questions of each form, the two answers of "ready" equally often."""
    draw = random.Random(SEED)
    wanted = Counter(COUNTS)
    ready = Counter({0: COUNTS["ready"] // 2, 1: COUNTS["ready"] // 2})
    forms: dict[str, Callable[[str, str, list[str], random.Random], Asked | None]] = {
        "fruit": ask_fruit,
        "food": ask_food,
        "ready": ask_ready,
    }
    for number, record in enumerate(generate_records(20_000, seed=SEED)):
        if any(record[name] is None for name in CLASS_TEMPLATE.fields):
            continue
        form = list(forms)[number % 3]
        sentences = str(record["description"]).replace("’", "'").replace(".  ", ". ").rstrip(".").split(". ")
        header, variety = CLASS_TEMPLATE.header(record), str(record["variety"])
        asked = forms[form](header, variety, [f"{sentence}." for sentence in sentences], draw)
        if asked is None or not wanted[form] or (form == "ready" and not ready[asked.answer]):
            continue
        wanted[form] -= 1
        if form == "ready":
            ready[asked.answer] -= 1
        yield asked
        if not wanted.total():
            return


def ask_fruit(header: str, variety: str, sentences: list[str], draw: random.Random) -> Asked | None:
    """Ask for a fruit of the variety that the first two sentences do not name."""
    read = " ".join(sentences[:2])
    own = fruits(variety)
    unnamed = sorted(fruit for fruit in own if fruit.split()[-1] not in read.lower())
    others = sorted({fruit for name in VARIETIES for fruit in fruits(name)} - own)
    if not unnamed or len(sentences) < 3:
        return None
    return asked_of("fruit", header, read, draw.choice(unnamed), others, draw)


def ask_food(header: str, variety: str, sentences: list[str], draw: random.Random) -> Asked | None:
    """Ask for the dish that the review names, after the sentences before it."""
    own = dishes(variety)
    others = sorted({dish for name in VARIETIES for dish in dishes(name)} - own)
    for number, sentence in enumerate(sentences):
        named = sorted(dish for dish in own if dish in sentence)
        if named and number:
            return asked_of("food", header, " ".join(sentences[:number]), named[0], others, draw)
    return None


def ask_ready(header: str, variety: str, sentences: list[str], draw: random.Random) -> Asked | None:
    """Ask whether the wine is to be drunk now or kept, after all sentences but the last."""
    *before, last = sentences
    answers = [number for number, starts in enumerate((READY, KEEP)) if last.startswith(starts)]
    if not answers or styles(variety) & OTHER_STYLES or "rink" in " ".join(before):
        return None
    return Asked("ready", header, " ".join(before), TEXTS["ready"], ["now.", "from"], answers[0])


def asked_of(form: str, header: str, review: str, answer: str, others: list[str], draw: random.Random) -> Asked | None:
    """Return a question with three wrong choices, in random order; none if the sample never says the answer."""
    said = training_texts()
    others = [other for other in others if any(other.lower() in text for text in said)]
    if not any(answer.lower() in text for text in said):
        return None
    choices = [answer, *draw.sample(others, 3)]
    draw.shuffle(choices)
    return Asked(form, header, review, TEXTS[form], choices, choices.index(answer))


@functools.cache
def training_texts() -> list[str]:
    """Return the sample's training reviews in lower case."""
    return [text.lower() for text in load_reviews(DataConfig(path="sample")).splits["train"][COMPOSED]]


def styles(variety: str) -> set[str]:
    """Return the styles in which the grammar makes a variety, which some regions decide."""
    return {wine.style for wine in WINES.items if wine.variety == variety}


def fruits(variety: str) -> set[str]:
    """Return the fruits that the grammar may name in a variety's reviews; a style's own list overrides the grape's."""
    tables = [VARIETIES[variety].table, *(STYLES[style].table for style in styles(variety))]
    return {fruit for entries in tables for fruit in entries.get("note", ())}


def dishes(variety: str) -> set[str]:
    """Return the dishes that the grammar may name in a variety's reviews."""
    return {dish for style in styles(variety) for dish in STYLES[style].table["dish"]}


# --- the answers


def by_models(questions: list[Asked], runs: list[str]) -> dict[str, dict[str, list[float]]]:
    """Return whether each model's answer is right, by score and form: one fraction for each run."""
    found: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        model, tokenizer = load_model_and_tokenizer(run)
        for context in ("header and review", "header"):
            answers = [
                answer_question(
                    model,
                    tokenizer,
                    f"{asked.header} {asked.review}" if context == "header and review" else asked.header,
                    Question(asked.question, tuple(asked.choices)),
                    prefix=CLASS_TEMPLATE.prefix,
                )
                for asked in questions
            ]
            for name, score in SCORES.items():
                record(found, f"{context}, {name}", questions, [choose(each, score) for each in answers])
        record(found, "the likelihood without the review", questions, [choose(each, prior) for each in answers])
    return found


def prior(answer: Answer) -> float:
    """Return the log likelihood of a choice after the question alone."""
    return answer.without_review


def choose(answers: Sequence[Answer], score: Callable[[Answer], float]) -> str:
    """Return the choice with the highest score."""
    return max(answers, key=score).choice


def without_model(questions: list[Asked]) -> dict[str, dict[str, list[float]]]:
    """Return chance, and the choice that is most frequent in the training reviews, or in those of the variety."""
    forms = sorted({asked.form for asked in questions})
    found = {
        "chance": {
            form: [statistics.mean(1 / len(asked.choices) for asked in questions if asked.form == form)]
            for form in forms
        }
    }
    for name, headed in (("the most frequent answer", False), ("the variety's most frequent answer", True)):
        chosen = []
        for asked in questions:
            read = [text for text in training_texts() if not headed or f" : {asked.variety.lower()} : " in text]
            counts = [sum(mentions(asked, choice) in text for text in read) for choice in asked.choices]
            chosen.append(asked.choices[counts.index(max(counts))])
        record(found, name, questions, chosen)
    return found


def mentions(asked: Asked, choice: str) -> str:
    """Return what is counted of a choice: of "ready" with its verb."""
    return f"{asked.question} {choice}" if asked.form == "ready" else choice.lower()


def record(found: dict[str, dict[str, list[float]]], name: str, questions: list[Asked], chosen: list[str]) -> None:
    """Add the fraction of right answers of each form."""
    for form in sorted({asked.form for asked in questions}):
        right = [
            asked.choices[asked.answer] == choice
            for asked, choice in zip(questions, chosen, strict=True)
            if asked.form == form
        ]
        found.setdefault(name, {}).setdefault(form, []).append(statistics.mean(right))


def to_markdown(questions: list[Asked], found: dict[str, dict[str, list[float]]]) -> str:
    """Return a table of right answers: the mean over the models, and the range of all forms together."""
    counts = Counter(asked.form for asked in questions)
    rows = []
    for name, forms in found.items():
        right = [
            sum(counts[form] * values[run] for form, values in forms.items()) for run in range(len(forms["food"]))
        ]
        spread = f" ({min(right):.0f} to {max(right):.0f})" if len(right) > 1 else ""
        cells = [f"{statistics.mean(forms[form]):.0%}" for form in counts]
        rows.append([name, *cells, f"{statistics.mean(right):.1f}{spread}"])
    header = ["", *(f"{form}, {count}" for form, count in counts.items()), f"right of {len(questions)}"]
    return table(header, rows)


if __name__ == "__main__":
    main()
