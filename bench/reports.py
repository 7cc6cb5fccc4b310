"""Reports: what came of replays, policies side by side, as lines of text and as one object."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from bench.answers import Answers
from bench.figures import Figures
from bench.scripts import Script

BAR = 24  # characters of the longest bar


def lines(*, script: Script, results: Mapping[str, Figures]) -> Iterator[str]:
    """Yield a table, a column for what was observed and for each policy, and bars below it."""
    names = [name for name in Figures().as_rows() if name not in script.hidden]
    figures = {name: result.as_rows() for name, result in results.items()}
    rows = [
        [name, *map(_number, (script.observed.get(name), *(one[name] for one in figures.values())))]
        for name in names
    ]
    yield from _aligned([["", "observed", *results], *rows])
    yield ""
    yield from _bars(results)


def as_json(
    *, script: Script, policies: Mapping[str, Mapping[str, Any]], results: Mapping[str, Figures],
    answers: Answers, breaches: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """Return all of it as one object."""
    return {
        "seed": answers.seed,
        "accept": answers.accept,
        "decline": answers.decline,
        "answer_minutes": answers.median / timedelta(minutes=1),
        "remarks": list(script.remarks),
        "assumptions": list(script.assumptions),
        "observed": dict(script.observed),
        "policies": {
            name: {
                "fields": dict(policies[name]),
                "figures": {
                    what: value
                    for what, value in one.as_rows().items()
                    if what not in script.hidden
                },
                "refills by time": one.refills_by_time(),
            }
            for name, one in results.items()
        },
        "breaches": list(breaches),
    }


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *values in rows:
        cells = (value.rjust(width) for value, width in zip(values, widths[1:], strict=True))
        yield "  ".join((name.ljust(widths[0]), *cells))


def _bars(results: Mapping[str, Figures]) -> Iterator[str]:
    """Draw how many seats were refilled how soon, to one scale for all policies."""
    counts = {name: one.refills_by_time() for name, one in results.items()}
    most = max((count for bands in counts.values() for count in bands.values()), default=0)
    digits = len(f"{most:,}")
    yield (
        f"{'refilled within':<16}  "
        + "  ".join(f"{name:<{digits + 1 + BAR}}" for name in counts).rstrip()
    )
    for band in Figures().refills_by_time():
        cells = (
            f"{bands[band]:>{digits},} " + ("#" * _length(bands[band], most)).ljust(BAR)
            for bands in counts.values()
        )
        yield f"{band:<16}  {'  '.join(cells)}".rstrip()


def _length(count: int, most: int) -> int:
    """Return the length of a bar: of any count there is something to see."""
    return max(round(BAR * count / most), 1) if count else 0


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.2f}" if value < 10 else f"{value:,.0f}"
