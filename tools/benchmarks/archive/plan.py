"""Machines, hours and room for archives of many images, computed from what one image was measured to cost.

    python -m tools.benchmarks.archive.plan --core-seconds 0.2 --finding-ms 0.4 --driver-ms 2 --driver-bytes 4000 \
        --output-bytes 9000 --output-files 2 --table-bytes 300

Nothing is measured here: docs/how-to/archive_plan.md says which commands give the figures. An archive is done when the
processors are, or when the one driver is, whatever takes longer; finding the images comes before either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from medclipsam_monai.base.files import size_text

COUNTS = (10**4, 10**6, 10**8)
MACHINES = (1, 10, 100)
_HOUR = 3600


@dataclass(frozen=True)
class Costs:
    """What an image costs.

    Attributes:
        core_seconds: of all processes.
        finding_ms: until it is found, one after the other.
        driver_ms: of the driver alone.
        driver_bytes: of the driver's memory.
        output_bytes: on the disk.
        output_files: how many.
        table_bytes: of its row.
    """

    core_seconds: float
    finding_ms: float
    driver_ms: float
    driver_bytes: float
    output_bytes: float
    output_files: float
    table_bytes: float


def hours(costs: Costs, images: int, machines: int, cores: int) -> float:
    """Until all are segmented, on so many machines of so many cores, or until the driver has heard of all."""
    return images * max(costs.core_seconds / (machines * cores), costs.driver_ms / 1000) / _HOUR


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def rows(costs: Costs, cores: int) -> list[str]:
    """The table, as lines of Markdown."""
    names = [f"hours, {machines} x {cores} cores" for machines in MACHINES]
    heads = ["images", "core-hours", *names, "finding, hours", "driver's memory", "outputs", "files", "table"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for count in COUNTS:
        cells = [
            f"{count:,}",
            _number(count * costs.core_seconds / _HOUR),
            *(_number(hours(costs, count, machines, cores)) for machines in MACHINES),
            _number(count * costs.finding_ms / 1000 / _HOUR),
            *(size_text(round(count * size)) for size in (costs.driver_bytes, costs.output_bytes)),
            f"{round(count * costs.output_files):,}",
            size_text(round(count * costs.table_bytes)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main(
    core_seconds: Annotated[float, typer.Option(min=0, help="Processor seconds an image, of all processes.")],
    finding_ms: Annotated[float, typer.Option(min=0, help="Milliseconds to find an image.")],
    driver_ms: Annotated[float, typer.Option(min=0, help="Processor milliseconds of the driver an image.")],
    driver_bytes: Annotated[float, typer.Option(min=0, help="Bytes of the driver's memory an image.")],
    output_bytes: Annotated[float, typer.Option(min=0, help="Bytes on the disk an image.")],
    output_files: Annotated[float, typer.Option(min=0, help="Files an image.")],
    table_bytes: Annotated[float, typer.Option(min=0, help="Bytes of the table an image.")],
    cores: Annotated[int, typer.Option(min=1, help="Of a machine.")] = 32,
) -> None:
    """Print the table."""
    costs = Costs(core_seconds, finding_ms, driver_ms, driver_bytes, output_bytes, output_files, table_bytes)
    print("\n".join(rows(costs, cores)))


if __name__ == "__main__":
    typer.run(main)
