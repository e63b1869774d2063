"""An evaluation's figures as tables for a terminal."""

from collections.abc import Mapping, Sequence

from wine_gpt.evaluation.results import EvaluationReport

Column = Mapping[str, float | None]


def to_text(report: EvaluationReport) -> str:
    """Return one table for each section."""
    sections = [
        f"{report.model}, {report.split} split",
        _block("likelihood", {"": report.likelihood.to_dict()}),
        _block("nats per word of baselines", {"": report.baselines}),
        _block("copying", {kind: result.to_dict() for kind, result in report.copying.items()}),
        _block("diversity", {kind: result.to_dict() for kind, result in report.diversity.items()}),
    ]
    if report.conditioning:
        if report.conditioning.rates:
            sections.append(_block("conditioning", report.conditioning.rates))
        if report.conditioning.existing_provinces is not None:
            sections.append(f"country and province that go together: {report.conditioning.existing_provinces:.1%}")
    return "\n\n".join(sections)


def compare(reports: Sequence[EvaluationReport]) -> str:
    """Return a table of several models' losses, the lowest bits per character first, which any tokenizers have."""
    figures = ("bits_per_character", "nats_per_word", "perplexity", "unknown_rate", "words", "reviews")
    ordered = sorted(reports, key=lambda report: report.likelihood.bits_per_character)
    header = ["comparison", *figures]
    rows = [[f"  {one.model}", *(_format(one.likelihood.to_dict()[name]) for name in figures)] for one in ordered]
    return "\n".join([_aligned([header, *rows]), *_obstacles(reports)])


def _obstacles(reports: Sequence[EvaluationReport]) -> list[str]:
    """Return why the losses of several models can't be compared; an empty list if they can."""
    if len({report.texts_fingerprint for report in reports}) > 1:
        return ["not comparable: the models were scored on different reviews"]
    if len({report.likelihood.words for report in reports}) > 1:
        return [
            "not comparable: the models were scored on different numbers of words, because a shorter block_size cuts "
            "reviews"
        ]
    return []


def _block(title: str, columns: Mapping[str, Column]) -> str:
    """Return a table with a row for each figure and a column for each kind of text."""
    names = list(dict.fromkeys(name for figures in columns.values() for name in figures))
    cells = [[title, *columns]]
    cells += [[f"  {name}", *(_format(figures.get(name)) for figures in columns.values())] for name in names]
    return _aligned(cells)


def _aligned(cells: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = ([name.ljust(widths[0]), *map(str.rjust, values, widths[1:])] for name, *values in cells)
    return "\n".join("  ".join(row).rstrip() for row in rows)


def _format(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
