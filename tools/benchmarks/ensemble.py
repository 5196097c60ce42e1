"""The checkpoint ensemble against nnU-Net's own way: nnUNetv2_predict once a checkpoint, and averaging its files.

    python -m tools.benchmarks.ensemble                            # 30 members, one phantom of 256 x 256
    python -m tools.benchmarks.ensemble --runs 3                   # nnU-Net for 3 of them only, times 10
    python -m tools.benchmarks.ensemble --enlarge 2                # phantoms of 512 x 512

nnU-Net plans a network for a few phantoms; its members have random weights, which cost as much as trained ones. Both
ways start from a fresh process, read the same files and write probabilities; nnUNetv2_predict is given one worker for
reading and one for writing, since more of them only take longer to start. The last line is a row for a Markdown table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image

from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.phantoms.seeds import ENSEMBLE_BENCHMARK
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.weak.ensemble.members import read_training
from medclipsam_monai.weak.folders import DATASET_ID, PLANS, TRAINER, WorkFolders
from medclipsam_monai.weak.nnunet.network_plan import NetworkPlan
from medclipsam_monai.weak.nnunet.planning import plan
from medclipsam_monai.weak.nnunet.process import nnunet_environment
from medclipsam_monai.weak.nnunet.schedule import CyclicSchedule

CASES = 4
HEADER = ["device", "network", "picture", "pictures", "G", "runs measured", "nnUNetv2_predict x G, s", "ensemble, s"]
HEADER += ["times faster", "nnUNetv2_predict x G, processor s", "ensemble, processor s", "times less"]
HEADER += ["peak of one nnUNetv2_predict, MB", "ensemble's, MB", "ensemble's with G = 1, MB", "largest difference"]


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        seconds: wall clock.
        processor: processor time of all its processes in seconds; tells more than the clock on a shared machine.
        megabytes: most memory that one process of it has held.
    """

    seconds: float
    processor: float
    megabytes: float


LAUNCHER = """
import json, os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[2:], stdout=open(sys.argv[1], "wb"), stderr=subprocess.STDOUT)
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - started
print(json.dumps([os.waitstatus_to_exitcode(status), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""


def run(command: list[str], environment: dict[str, str]) -> Cost:
    """Run a command to its end.

    A process's peak memory starts from that of the one that started it, so a small one does that here.
    """
    with tempfile.NamedTemporaryFile() as output:
        launcher = [sys.executable, "-S", "-c", LAUNCHER, output.name, *command]
        answer = subprocess.run(launcher, env=environment, stdout=subprocess.PIPE, check=True)
        code, seconds, processor, peak = json.loads(answer.stdout)
        if code:
            raise SystemExit(f"{command[0]} failed:\n{output.read().decode(errors='replace')[-2000:]}")
    return Cost(seconds, processor, peak / (1024 * 1024 if sys.platform == "darwin" else 1024))


def make_data(folders: WorkFolders, enlarge: int) -> list[str]:
    """A raw data set of chest X-ray phantoms with lungs; gives the cases."""
    for folder in (folders.images, folders.labels, folders.preprocessed):
        folder.mkdir(parents=True)
    cases = [f"case_{number:04d}" for number in range(CASES)]
    for case, seed in zip(cases, ENSEMBLE_BENCHMARK.seeds(CASES), strict=True):
        phantom = make_phantom("chest_xray", seed)
        picture = (255 * phantom.image).round().astype(np.uint8)
        larger = np.ones((enlarge, enlarge), np.uint8)
        Image.fromarray(np.kron(picture, larger)).save(folders.images / f"{case}_0000.png")
        label = phantom.masks["lungs"].astype(np.uint8)
        Image.fromarray(np.kron(label, larger)).save(folders.labels / f"{case}.png")
    labels = {"background": 0, "lungs": 1}
    dataset = {"channel_names": {"0": "grey"}, "labels": labels, "numTraining": CASES, "file_ending": ".png"}
    folders.dataset_json.write_text(json.dumps(dataset))
    folders.splits_json.write_text(json.dumps([{"train": cases[:-1], "val": cases[-1:]}]))
    return cases


def make_members(folders: WorkFolders, members: int) -> NetworkPlan:
    """A trained model's folder with random weights, which nnU-Net and the ensemble both read."""
    folders.fold.mkdir(parents=True)
    for source, name in ((folders.plans_json, "plans.json"), (folders.dataset_json, "dataset.json")):
        (folders.results / name).write_bytes(source.read_bytes())
    plans, dataset = (json.loads(path.read_text()) for path in (folders.plans_json, folders.dataset_json))
    network_plan = NetworkPlan(plans, dataset, "2d", (0, 1))
    entries = []
    for epoch in range(members):
        torch.manual_seed(epoch)
        checkpoint: dict[str, Any] = {
            "network_weights": network_plan.build_network().state_dict(),
            "epoch": epoch,
            "trainer_name": "nnUNetTrainer",
            "init_args": {"configuration": "2d"},
            "inference_allowed_mirroring_axes": network_plan.mirroring_axes,
        }
        entries.append({"file": f"checkpoint_epoch_{epoch:04d}.pth", "epoch": epoch, "cycle": 0})
        torch.save(checkpoint, folders.fold / str(entries[-1]["file"]))
    folders.members_json.write_text(json.dumps({"members": entries, "expected": members}))
    return network_plan


def one_by_one(
    folders: WorkFolders, inputs: Path, output: Path, runs: int, device: str
) -> tuple[Cost, dict[str, np.ndarray]]:
    """nnUNetv2_predict for each of the first checkpoints, then the mean of the files; gives the means by case."""
    environment = nnunet_environment(folders, workers=1)
    del environment["nnUNet_def_n_proc"]  # it would hold the network to one thread, and the ensemble uses all
    program = "from nnunetv2.inference.predict_from_raw_data import predict_entry_point; predict_entry_point()"
    fixed = ["-i", str(inputs), "-d", str(DATASET_ID), "-c", "2d", "-tr", TRAINER, "-p", PLANS, "-f", "0"]
    fixed += ["-device", device, "-npp", "1", "-nps", "1", "--save_probabilities", "--disable_progress_bar"]
    costs, means = [], {}
    files = [entry["file"] for entry in json.loads(folders.members_json.read_text())["members"]][:runs]
    for file in files:
        command = [sys.executable, "-c", program, *fixed, "-chk", file, "-o", str(output / file)]
        costs.append(run(command, environment))
        print(f"  {file}: {costs[-1].seconds:.1f} s, processor {costs[-1].processor:.1f} s", flush=True)
    started = time.perf_counter(), time.process_time()
    for case in sorted(path.stem for path in (output / files[0]).glob("*.npz")):
        probabilities = (np.load(output / file / f"{case}.npz")["probabilities"] for file in files)
        means[case] = sum(probabilities)[:, 0] / len(files)
    seconds = time.perf_counter() - started[0] + sum(cost.seconds for cost in costs)
    processor = time.process_time() - started[1] + sum(cost.processor for cost in costs)
    return Cost(seconds, processor, max(cost.megabytes for cost in costs)), means


def ensemble_process(root: str, inputs: str, output: str, members: str, device: str) -> None:
    """What the ensemble's process does; nnUNetv2_predict writes the same: mask and probabilities of each picture."""
    network_plan, checkpoints = read_training(WorkFolders(Path(root)))
    ensemble = CheckpointEnsemble(network_plan, checkpoints[: int(members)], device)
    for image in sorted(Path(inputs).glob("*.png")):
        found = ensemble.predict(image)
        case = image.name.removesuffix("_0000.png")
        found.save(output, stem=case)
        np.savez_compressed(Path(output) / f"{case}.npz", probabilities=found.probability.numpy())


def together(folders: WorkFolders, inputs: Path, output: Path, members: int, device: str) -> Cost:
    """The ensemble in a process of its own."""
    program = "import sys; from tools.benchmarks import ensemble as b; b.ensemble_process(*sys.argv[1:])"
    arguments = [str(folders.root), str(inputs), str(output), str(members), device]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return run([sys.executable, "-c", program, *arguments], environment)


def main(
    members: Annotated[int, typer.Option(help="Checkpoints, G.")] = 30,
    runs: Annotated[int, typer.Option(help="Checkpoints that nnUNetv2_predict is run for; 0 = all of them.")] = 0,
    images: Annotated[int, typer.Option(help="Pictures to predict, at most 4.")] = 1,
    enlarge: Annotated[int, typer.Option(help="Pixels for each of the phantom's 256 x 256, along a side.")] = 1,
    size: Annotated[str, typer.Option(help="Network: nnunet (as nnU-Net plans it), small or tiny.")] = "nnunet",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Measure time, memory and the difference between the two means.

    With fewer runs than checkpoints, the others are taken to cost as much, and the means are those of these runs.
    """
    runs = runs or members
    with tempfile.TemporaryDirectory(prefix="medclipsam-") as name:
        folders, inputs = WorkFolders(Path(name) / "work"), Path(name) / "inputs"
        cases = make_data(folders, enlarge)
        plan(folders, CyclicSchedule(), size=size)
        network = make_members(folders, members).build_network()
        inputs.mkdir()
        for case in cases[:images]:
            (inputs / f"{case}_0000.png").write_bytes((folders.images / f"{case}_0000.png").read_bytes())
        costs = {}
        for number in sorted({1, runs, members}):
            costs[number] = together(folders, inputs, Path(name) / f"ours_{number}", number, device)
            print(f"  ensemble of {number}: {costs[number]}", flush=True)
        theirs, means = one_by_one(folders, inputs, Path(name) / "theirs", runs, device)
        ours = Path(name) / f"ours_{runs}"
        found = {case: np.load(ours / f"{case}.npz")["probabilities"] for case in means}
        apart = max(float(np.abs(found[case] - mean).max()) for case, mean in means.items())
    seconds, processor = (members / runs * value for value in (theirs.seconds, theirs.processor))
    parameters = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    one, whole = costs[1], costs[members]
    row = [device, f"{parameters:.1f} M", f"{256 * enlarge} x {256 * enlarge}", images, members, runs]
    row += [f"{seconds:.0f}", f"{whole.seconds:.0f}", f"{seconds / whole.seconds:.1f}"]
    row += [f"{processor:.0f}", f"{whole.processor:.0f}", f"{processor / whole.processor:.1f}"]
    row += [f"{theirs.megabytes:.0f}", f"{whole.megabytes:.0f}", f"{one.megabytes:.0f}", f"{apart:.0e}"]
    for cells in (HEADER, ["---"] * len(HEADER), row):
        print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    typer.run(main)
