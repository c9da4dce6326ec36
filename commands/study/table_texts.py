"""A study's tables as they are read: a part for each dataset and convention, with published rows below our own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pandas as pd

from ivif.callbacks.tables import MEAN
from ivif.commands.report.tables import number, ranks, score_table, spread, with_rank
from ivif.commands.study.published import PublishedTable
from ivif.commands.study.table_statistics import DETECTION, mark_close, mean_ranks
from ivif.files.text_tables import TextTable
from ivif.lightning_modules.efficiency import COLUMNS as COSTS
from ivif.metrics.conventions import CONVENTIONS
from ivif.metrics.detection_comparison import DRAWS
from ivif.metrics.registry import METRICS, with_direction

LEGEND: Final = (
    "Mean ± sample deviation over the seeds (rank). Bold: the best. ≈: no farther from the best than both deviations "
    "together; with one seed of either no deviation is known, and nothing is marked."
)
COMPARED: Final = "Difference from {reference}. *: more than both deviations over the seeds together."
HOLM: Final = "two-sided, corrected after Holm for all comparisons of this part."
SIGNED_RANK: Final = f"p: Wilcoxon's signed-rank test, paired over the pictures (each its mean over the seeds), {HOLM}"
EXCHANGED: Final = (
    f"p: a permutation test over the pictures: what two rows found is exchanged in pictures chosen at random, "
    f"{DRAWS} times, the same for all seeds; {HOLM}"
)
PRINTED: Final = "Rows with a source are printed there, with other splits and other code, and have no rank."
RANKED: Final = "Rows with a source are printed there, with other splits and other code; they are ranked on request."
UNSTATED: Final = "The papers do not state the IoU of their AP, so their rows stand below both tables."


@dataclass(frozen=True)
class Part:
    """What is said of a dataset and convention.

    Attributes:
        title: Which.
        about: Sentences on how to read it.
        table: Our rows, then the published ones.
        ours: How many rows are ours.
        compared: Differences from the reference row; None where there are none.
        difference: How to read these.
    """

    title: str
    about: Sequence[str]
    table: TextTable
    ours: int
    compared: TextTable | None
    difference: str


@dataclass(frozen=True)
class Sources:
    """What a table shows beside its scores.

    Attributes:
        costs: Row -> what fusing a picture costs.
        published: Tables of papers.
        rank_published: Whether their rows are ranked with ours.
        from_folds: How scores of boxes come from folds, in a sentence; empty where there are none.
    """

    costs: Mapping[str, Mapping[str, str]]
    published: Sequence[PublishedTable]
    rank_published: bool = False
    from_folds: str = ""


def parts(summary: pd.DataFrame, compared: pd.DataFrame, sources: Sources) -> Iterator[Part]:
    """The parts of a study's tables, one for each dataset and convention."""
    for (dataset, convention), rows in summary.groupby(["dataset", "convention"], sort=False):
        own = compared[(compared["dataset"] == dataset) & (compared["convention"] == convention)]
        yield _part(str(dataset), str(convention), rows, own, sources)


def _part(dataset: str, convention: str, rows: pd.DataFrame, compared: pd.DataFrame, sources: Sources) -> Part:
    boxes = convention in DETECTION
    printed = [
        each
        for each in sources.published
        if each.dataset == dataset and (MEAN in each.columns if boxes else each.convention == convention)
    ]
    about = [] if boxes else [CONVENTIONS[convention].summary]
    about += [LEGEND, *([sources.from_folds] if boxes and sources.from_folds else [])]
    ours = rows["method"].nunique()
    if printed:
        about += [RANKED if sources.rank_published else PRINTED, *([UNSTATED] if boxes else [])]
        about += list(dict.fromkeys(f"{each.cited}: {each.source}." for each in printed))
    if printed and sources.rank_published:
        rows = _with_published(rows, printed)
    rows = _complete(rows)
    marked = rows.assign(close=mark_close(rows).to_numpy())
    table = score_table(marked, _score, titles=column)
    table = _with_columns(table, 1, {"seeds": _seeds(rows)})
    if not boxes:
        table = _with_columns(table, len(table.columns), {"mean rank": _mean_ranks(rows)})
    methods = [str(name) for name in rows["method"].unique()]
    if costs := {name: sources.costs[name] for name in methods if name in sources.costs}:
        cells = {cost: [costs.get(name, {}).get(cost, "-") for name in methods] for cost in COSTS}
        table = _with_columns(table, len(table.columns), cells)
    if printed:
        table = _below(table, rows, printed, sources.rank_published)
    difference = COMPARED.format(reference=compared["reference"].iloc[0]) if len(compared) else ""
    if len(compared) and compared["p"].notna().any():
        difference += f" {EXCHANGED if boxes else SIGNED_RANK}"
    title = f"{dataset}, {column(convention) if boxes else f'convention {convention}'}"
    return Part(title, about, table, ours, _differences(compared) if len(compared) else None, difference)


def column(metric: str) -> str:
    """What a column is called: a metric, or a class of boxes."""
    return with_direction(metric) if metric in METRICS else f"{metric.replace('_', '-')} ↑"


def _score(row: Any) -> str:
    if isinstance(row.get("printed"), str):
        return with_rank(row["printed"], row["rank"])
    text = spread(row) if row["seeds"] > 1 else number(row["mean"])
    return f"{with_rank(text, row['rank'])}{' ≈' if row['close'] else ''}"


def _with_published(rows: pd.DataFrame, printed: Sequence[PublishedTable]) -> pd.DataFrame:
    """The rows of a block with those that are printed, ranked together."""
    first = rows.drop_duplicates("metric").set_index("metric")
    more = [
        {name: first.loc[metric, name] for name in ("dataset", "convention", "direction")}
        | {"metric": metric, "method": name, "mean": float(values[table.columns.index(metric)]), "seeds": 0}
        | {"printed": values[table.columns.index(metric)], "n": table.images, "images": table.images, "size": "-"}
        for table, name, values in _named(printed)
        for metric in first.index
        if metric in table.columns
    ]
    joined = pd.concat([rows, pd.DataFrame(more)], ignore_index=True)
    known = joined["rank"].notna() | joined["printed"].notna()
    return joined.assign(rank=ranks(joined.assign(mean=joined["mean"].where(known))))


def _complete(rows: pd.DataFrame) -> pd.DataFrame:
    """A block in which every method has a row for every metric, without a mean where it was not scored."""
    metrics, methods = (rows.drop_duplicates(name).set_index(name) for name in ("metric", "method"))
    every = pd.MultiIndex.from_product([metrics.index, methods.index], names=["metric", "method"])
    whole = rows.set_index(["metric", "method"]).reindex(every).reset_index()
    of_metric = {name: whole["metric"].map(metrics[name]) for name in ("dataset", "convention", "direction")}
    of_method = {name: whole["method"].map(methods[name]) for name in ("images", "size", "seeds")}
    of_method["images"] = of_method["images"].astype(int)
    return whole.assign(**of_metric, **of_method, n=whole["n"].fillna(of_method["images"]).astype(int))


def _named(printed: Sequence[PublishedTable]) -> Iterator[tuple[PublishedTable, str, tuple[str, ...]]]:
    """Each printed row once, though two tables of a paper may have it, with a name that tells it from ours."""
    seen = set()
    for table in printed:
        for name, values in table.rows.items():
            if (table.source, table.columns, name, values) not in seen:
                seen.add((table.source, table.columns, name, values))
                yield table, f"{name} (published)", values


def _below(table: TextTable, rows: pd.DataFrame, printed: Sequence[PublishedTable], ranked: bool) -> TextTable:
    """The table with the printed rows below ours, and with where they are printed."""
    said = {name: source.said for source, name, _ in _named(printed)}
    if ranked:
        return _with_columns(table, len(table.columns), {"source": [said.get(row[0], "ours") for row in table.rows]})
    titles = {column(str(metric)): str(metric) for metric in rows["metric"].unique()}
    table = _with_columns(table, len(table.columns), {"source": ["ours"] * len(table.rows)})
    below = []
    for source, name, values in _named(printed):
        known = dict(zip(source.columns, values, strict=True)) | {"method": name, "source": source.said}
        known |= {"n": str(source.images)} if source.images else {}
        below.append([known.get(titles.get(title, title), "-") for title in table.columns])
    return replace(table, rows=[*table.rows, *below])


def _with_columns(table: TextTable, place: int, cells: Mapping[str, Sequence[str]]) -> TextTable:
    """A table with further columns before the one at a place."""
    columns = [*table.columns[:place], *cells, *table.columns[place:]]
    added = zip(*cells.values(), strict=True)
    rows = [[*row[:place], *more, *row[place:]] for row, more in zip(table.rows, added, strict=True)]
    return replace(table, columns=columns, rows=rows)


def _seeds(rows: pd.DataFrame) -> list[str]:
    counts = rows.groupby("method", sort=False)["seeds"].max()
    return [str(int(count)) if count else "-" for count in counts]


def _mean_ranks(rows: pd.DataFrame) -> list[str]:
    return [number(mean) for mean in mean_ranks(rows).values()]


def _differences(compared: pd.DataFrame) -> TextTable:
    metrics = list(dict.fromkeys(compared["metric"]))
    rows = []
    for method, own in compared.groupby("method", sort=False):
        cells = {row["metric"]: _difference(row) for row in own.to_dict("records")}
        pairs = own["pairs"].max()
        rows.append([str(method), str(pairs) if pairs else "-", *(cells.get(metric, "-") for metric in metrics)])
    return TextTable(["method", "pairs", *map(column, metrics)], rows)


def _difference(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["difference"]):
        return "-"
    sign = "+" if row["difference"] > 0 else ""
    text = f"{sign}{number(row['difference'])}{' *' if row['exceeds'] else ''}"
    if pd.isna(row["p_holm"]):
        return text
    return f"{text}, p < 0.001" if row["p_holm"] < 0.001 else f"{text}, p = {row['p_holm']:.3f}"
