"""What a CUDA device gives, all parts in one run of some minutes, written as JSON and as a Markdown table.

    scripts/gpu_check.sh                        # finds or makes an environment, then runs this
    python -m tools.benchmarks.gpu --output gpu_check
    python -m tools.benchmarks.gpu --dry-run    # every part on the CPU with small networks: no figure of a GPU

Measured are the chain's images a second at real sizes with random weights, M2IB against the released procedure, and
how far the chain with the shipped weights is from the CPU's, in float32 and in half precision. What does not fit the
device's memory, or the time, is a row that says so.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from medclipsam_monai.base.files import write_text
from medclipsam_monai.base.json_files import write_json
from medclipsam_monai.io import read_image
from medclipsam_monai.networks.protocols import PromptableSegmenter, TextImageEncoder
from medclipsam_monai.networks.sam.segmenter import SAMSegmenter
from medclipsam_monai.networks.sam.sizes import SAM_SIZES, build_sam
from medclipsam_monai.networks.transformers_sam.families import EDGETAM
from medclipsam_monai.phantoms.samples import sample_pictures
from medclipsam_monai.presets import load_preset
from medclipsam_monai.transforms import DisplayRange
from medclipsam_monai.zero_shot.build import build_network
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter
from tools.benchmarks import siglip
from tools.benchmarks.chain import measure_m2ib, random_biomedclip, seconds
from tools.benchmarks.segmenters import random_segmenter

NOT_MEASURED = "not measured"
SHIPPED = (("demo", "xray_normal", "lungs"), ("small", "xray_normal", "lungs"))
PUBLISHED = "biomedclip_sam_b"
_PICTURES = 5  # after one that does not count


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        what: is measured, with which networks.
        value: the figure; None where it was not measured.
        unit: of it.
        note: what it was compared with, or why there is none.
    """

    what: str
    value: float | None
    unit: str = ""
    note: str = ""

    @property
    def shown(self) -> str:
        """The figure for people."""
        return NOT_MEASURED if self.value is None else f"{self.value:.4g} {self.unit}".rstrip()


Part = Callable[[], Iterator[Row]]


def random_sam(size: str) -> SAMSegmenter:
    """SAM of a size with seeded random weights."""
    torch.manual_seed(0)
    return SAMSegmenter(build_sam(SAM_SIZES[size]))


SEGMENTERS: dict[str, Callable[[], Any]] = {
    "SAM ViT-B": partial(random_sam, "vit_b"),
    "SAM ViT-H": partial(random_sam, "vit_h"),
    "EdgeTAM": partial(random_segmenter, EDGETAM),
}


def chain_rate(
    encoder: TextImageEncoder, segmenter: PromptableSegmenter, device: torch.device, amp: bool, pictures: int
) -> float:
    """Pictures of 512 x 512 pixels that the whole chain segments by one text in a second."""
    settings = load_preset(PUBLISHED).settings
    if encoder.num_blocks <= settings.saliency["layer"]:  # the small networks of a dry run
        settings = settings.replace({"saliency.layer": 0})
    network = ZeroShotSegmenter(encoder, segmenter, settings, amp=amp)
    given = torch.rand(pictures + 1, 3, 512, 512, generator=torch.Generator().manual_seed(3)).to(device)

    def work() -> None:
        for picture in given[1:]:
            network.segment(picture[None], "lungs")

    network.segment(given[:1], "lungs")
    spent, _ = seconds(work, device)
    return pictures / spent


def chain_rows(name: str, device: torch.device) -> Iterator[Row]:
    """Images a second of BiomedCLIP and a segmenter, without and with half precision, and the memory that it took."""
    encoder, _ = random_biomedclip(device)
    segmenter = SEGMENTERS[name]().to(device).eval()
    for amp in (False, True):
        torch.cuda.reset_peak_memory_stats(device)
        what = f"BiomedCLIP + {name}, {'bfloat16 in the segmenter' if amp else 'float32'}"
        rate = chain_rate(encoder, segmenter, device, amp, _PICTURES)
        yield Row(f"{what}: the whole chain", rate, "images/s", "512 x 512 pixels, one text, random weights")
        yield Row(f"{what}: peak memory", torch.cuda.max_memory_allocated(device) / 1e9, "GB")


def m2ib_rows(name: str, measure: Callable[[], tuple[float, float, float]]) -> Iterator[Row]:
    """M2IB against the released procedure, in one run on one device."""
    slow, quick, apart = measure()
    yield Row(f"M2IB, {name}: ours", quick, "s", f"released procedure {slow:.2f} s in the same run")
    yield Row(f"M2IB, {name}: times faster", slow / quick, "x")
    yield Row(f"M2IB, {name}: largest difference of the maps", apart)


def picture_of(name: str) -> Tensor:
    """A shipped phantom as the chain takes it, (1, 3, H, W) in [0, 1]."""
    return torch.as_tensor(DisplayRange()(read_image(sample_pictures()[name])))[None]


def parity_rows(preset: str, picture: str, text: str, device: torch.device) -> Iterator[Row]:
    """How far a device's chain is from the CPU's, with weights that ship with the package."""
    image = picture_of(picture)
    expected = build_network(preset, "cpu", amp=False).segment(image, text)[0]
    for amp in (False, True):
        found = build_network(preset, device, amp=amp).segment(image.to(device), text)[0]
        what = f"{preset} weights, {text}, {'half precision' if amp else 'float32'} against the CPU"
        mask, saliency, probability = found.mask.cpu(), found.saliency.cpu(), found.probability.cpu()
        union = (mask | expected.mask).sum()
        overlap = float((mask & expected.mask).sum() / union) if union else 1.0
        yield Row(f"{what}: IoU of the masks", overlap)
        yield Row(f"{what}: largest difference of saliency", float((saliency - expected.saliency).abs().max()))
        yield Row(f"{what}: of probability", float((probability - expected.probability).abs().max()))


def gpu_parts(device: torch.device) -> dict[str, Part]:
    """What is measured on a GPU, the most wanted first."""
    parts: dict[str, Part] = {f"parity of {one[0]}": partial(parity_rows, *one, device) for one in SHIPPED}
    parts |= {f"BiomedCLIP + {name}": partial(chain_rows, name, device) for name in SEGMENTERS}
    parts["M2IB, BiomedCLIP's size"] = partial(m2ib_rows, "BiomedCLIP's size", partial(measure_m2ib, device))
    large = partial(siglip.measure, siglip.SIZES["medsiglip"], device)
    parts["M2IB, MedSigLIP's size"] = partial(m2ib_rows, "MedSigLIP's size", large)
    return parts


def dry_parts() -> dict[str, Part]:
    """The same code on the CPU with small networks, in seconds."""
    cpu = torch.device("cpu")

    def chain() -> Iterator[Row]:
        network = build_network("demo", cpu, amp=False)
        rate = chain_rate(network.encoder, network.segmenter, cpu, amp=False, pictures=1)
        yield Row("demo networks: the whole chain", rate, "images/s")

    small = partial(siglip.measure, siglip.SIZES["small"], cpu)
    return {
        "dry parity": partial(parity_rows, *SHIPPED[0], cpu),
        "dry chain": chain,
        "dry M2IB": partial(m2ib_rows, "a small SigLIP", small),
    }


def collected(parts: dict[str, Part], until: float, prefix: str = "") -> list[Row]:
    """All rows; a part that does not fit the device's memory or the time is one that says so.

    Args:
        parts: by what they measure.
        until: `time.monotonic` after which no further part is begun.
        prefix: of what each figure is said to be.
    """
    rows: list[Row] = []
    for name, part in parts.items():
        if time.monotonic() > until:
            rows.append(Row(name, None, note="the time was up"))
            continue
        try:
            for row in part():
                rows.append(replace(row, what=prefix + row.what))
                print(f"{rows[-1].what}: {row.shown}", flush=True)
        except torch.OutOfMemoryError as error:
            reason = str(error).strip().splitlines()[0].split(". ")[0][:120]
            rows.append(Row(name, None, note=f"out of memory: {reason}"))
        torch.cuda.empty_cache()  # here nothing holds the part's networks any more
    return rows


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| what | figure | |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {row.what} | {row.shown} | {row.note} |" for row in rows)]) + "\n"


def main(
    output: Annotated[Path, typer.Option(help="Folder for gpu.json and gpu.md.")] = Path("gpu_check"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Small networks on the CPU, no GPU figure.")] = False,
    minutes: Annotated[float, typer.Option(min=0, help="No further part is begun after these.")] = 8.0,
) -> None:
    """Measure, print the table, and write it."""
    warnings.simplefilter("ignore", FutureWarning)
    until = time.monotonic() + 60 * minutes
    dry = dry_run or not torch.cuda.is_available()
    if dry:
        why = "dry run" if dry_run else "no CUDA device"
        absent = [Row(name, None, note=why) for name in gpu_parts(torch.device("cpu"))]
        rows, device = [*absent, *collected(dry_parts(), until, "dry run on the CPU, ")], "cpu"
    else:
        rows, device = collected(gpu_parts(torch.device("cuda")), until), torch.cuda.get_device_name()
    about = {"torch": torch.__version__, "cuda": torch.version.cuda or "", "device": device, "dry_run": dry}
    output.mkdir(parents=True, exist_ok=True)
    write_json({**about, "rows": [asdict(row) for row in rows]}, output / "gpu.json")
    text = f"torch {about['torch']}, {device}\n\n{table(rows)}"
    write_text(output / "gpu.md", text)
    print(f"\n{text}", end="")


if __name__ == "__main__":
    typer.run(main)
