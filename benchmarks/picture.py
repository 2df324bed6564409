"""The picture of latency over network distance, `docs/latency.svg`."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.subjects import PASTED
from lab.variants import ROOT

PICTURE = ROOT / "docs" / "latency.svg"
TITLES = {"read": "GET /users/{id}", "write": "POST /users"}
# What Matplotlib writes that names an address. Nothing in the picture needs it.
OUTSIDE = r'<!DOCTYPE[^>]*>\n| xmlns:xlink="[^"]*"|xlink:(?=href)'
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True)
class Line:
    """One service: its name, and per operation its flights and its times in ms."""

    name: str
    flights: Mapping[str, int]
    latency: Mapping[str, Sequence[float]]

    @property
    def kind(self) -> tuple[int, ...]:
        """The flights of all operations: services with the same have one colour."""
        return tuple(self.flights.values())

    @property
    def pasted(self) -> bool:
        """Tell whether this is the patterns page as it is written."""
        return self.name.startswith(PASTED)


def merged(lines: Sequence[Line]) -> str:
    """Write `a-pool-driver` and `b-pool-driver` as `pool driver (a, b)`."""
    places: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        if line.pasted:
            places["as pasted"].append(line.name.removeprefix(PASTED))
        else:
            database, _, rest = line.name.partition("-")
            places[rest.replace("-", " ")].append(database)
    return ", ".join(f"{name} ({', '.join(found)})" for name, found in places.items())


def draw(distances: Sequence[int], lines: Sequence[Line]) -> None:
    """Draw one panel for each operation, with the same scale, and write the file."""
    kinds: dict[tuple[int, ...], list[Line]] = defaultdict(list)
    for line in sorted(lines, key=lambda each: each.kind):
        kinds[line.kind].append(line)
    # The same figures give the same file, and its letters stay text.
    mpl.rcParams |= {"svg.hashsalt": "latency", "svg.fonttype": "none"}
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    panels = figure.subplots(1, len(TITLES), sharey=True)
    for panel, (operation, title) in zip(panels, TITLES.items(), strict=True):
        for number, (kind, members) in enumerate(kinds.items()):
            label = f"{' / '.join(map(str, kind))}: {merged(members)}"
            draw_kind(panel, distances, members, operation, f"C{number}", label)
        panel.set_title(title)
        panel.set_xlabel("network round trip to the database, ms")
        panel.set_xticks(distances)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("latency of a request, p50, ms")
    panels[0].set_ylim(bottom=0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower left",
        title="Round trips of a read / of a write, without TLS",
        alignment="left",
        frameon=False,
    )
    figure.savefig(PICTURE, metadata=NO_METADATA)
    text = re.sub(OUTSIDE, "", PICTURE.read_text(encoding="utf-8"))
    tidy = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    PICTURE.write_text(tidy, encoding="utf-8")


def draw_kind(  # noqa: PLR0913, PLR0917
    panel: Axes,
    distances: Sequence[int],
    members: Sequence[Line],
    operation: str,
    colour: str,
    label: str,
) -> None:
    """Draw the lines of services that cost the same number of flights."""
    for number, member in enumerate(members):
        panel.plot(
            distances,
            member.latency[operation],
            color=colour,
            marker=".",
            linestyle="--" if member.pasted else "-",
            linewidth=1.4,
            label=None if number else label,
        )
