"""The classes that hosts show for models/model.pt, from metadata.json, are those of the ensemble in it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import zoo_checks
from monai.bundle import load

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.weak.ensemble.described import describe_ensemble
from medclipsam_monai.weak.ensemble.ensemble_file import read_ensemble_file, write_ensemble_file
from medclipsam_monai.weak.ensemble.members import Member, own_tensors
from medclipsam_monai.weak.ensemble.network import EnsembleNetwork

NAME = "medclipsam_weak_segmentation"
COMMAND = "python -m monai.bundle run describe --config_file configs/train.json"
THREE = ("background", "Left lung", "right lung é")


def write_ensemble(path: Path, names: tuple[str, ...], colours: int = 1) -> None:
    """One random member that has the shipped ensemble's plans, but other classes and colours."""
    plan, _ = read_ensemble_file(zoo_checks.BUNDLES / NAME / "models" / "model.pt")
    channels = {str(number): "grey" for number in range(colours)}
    labels = {name: number for number, name in enumerate(names)}
    plans = json.loads(json.dumps(plan.plans))
    for configuration in plans["configurations"].values():
        for key in ("normalization_schemes", "use_mask_for_norm"):
            configuration[key] = configuration[key][:1] * colours
    properties = plans["foreground_intensity_properties_per_channel"]
    plans["foreground_intensity_properties_per_channel"] = {str(n): properties["0"] for n in range(colours)}
    changed = {**plan.dataset_json, "labels": labels, "channel_names": channels}
    plan = replace(plan, plans=plans, dataset_json=changed)
    torch.manual_seed(0)
    network = plan.build_network()
    write_ensemble_file(path, plan, [Member("a.pth", partial(own_tensors, network))], network, torch.float16)


@pytest.fixture
def bundle(tmp_path) -> Path:
    return zoo_checks.copy_bundle(NAME, tmp_path, models=True)


def described(bundle: Path) -> tuple[dict, dict]:
    formats = zoo_checks.read_metadata(bundle)["network_data_format"]
    return formats["inputs"]["image"], formats["outputs"]["pred"]


@pytest.mark.parametrize("colours", [1, 3])
def test_the_command_describes_the_ensemble_that_lies_there(bundle, colours):
    write_ensemble(bundle / "models" / "model.pt", THREE, colours)
    if colours == 3:
        subprocess.run([sys.executable, *COMMAND.split()[1:]], cwd=bundle, check=True)
    else:  # the same in this process
        describe_ensemble(bundle / "models" / "model.pt")
    image, pred = described(bundle)
    assert pred["channel_def"] == {"0": "background", "1": "Left lung", "2": "right lung é"}
    assert (pred["num_channels"], image["num_channels"]) == (3, colours)
    assert len(image["channel_def"]) == colours
    metadata = zoo_checks.read_metadata(bundle)
    assert metadata["label_classes"] == "0 background, 1 Left lung, 2 right lung é"
    assert "heart" not in json.dumps(metadata)
    zoo_checks.check_files(bundle)
    zoo_checks.check_metadata(bundle)
    zoo_checks.check_network(bundle)
    assert load(NAME, bundle_dir=bundle.parent, device="cpu").ensemble.names == THREE


def test_the_ensemble_that_ships_is_described_as_it_is(bundle):
    before = (bundle / "configs" / "metadata.json").read_bytes()
    describe_ensemble(bundle / "models" / "model.pt")
    assert (bundle / "configs" / "metadata.json").read_bytes() == before


@pytest.mark.parametrize("kind", ["train", "inference"])
def test_a_model_file_that_somebody_put_there_is_not_served_under_other_names(bundle, kind):
    write_ensemble(bundle / "models" / "model.pt", ("background", "lungs"))
    with pytest.raises(Exception) as error:
        load(NAME, bundle_dir=bundle.parent, workflow_type=kind, device="cpu")
    cause: BaseException | None = error.value
    while cause is not None and not isinstance(cause, InputError):
        cause = cause.__cause__
    told = "says that the classes are 'background, heart', models/model.pt has 'background, lungs'; in the"
    assert told in str(cause) and str(cause).endswith(f": {COMMAND}") and "\n" not in str(cause)


@pytest.mark.parametrize("place", ["models/other.pt", "model.pt", "../model.pt"])
def test_another_file_is_neither_compared_nor_described(bundle, place):
    before = (bundle / "configs" / "metadata.json").read_bytes()
    write_ensemble(bundle / place, THREE)
    assert describe_ensemble(bundle / place) is None
    assert EnsembleNetwork.from_file(bundle / place, "cpu").ensemble.names == THREE
    assert (bundle / "configs" / "metadata.json").read_bytes() == before


def test_a_network_that_runs_does_not_change_its_classes(bundle, tmp_path):
    """As MONAI Label loads a changed file into the network whose names it shows since its start."""
    network = EnsembleNetwork.from_file(bundle / "models" / "model.pt", "cpu")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    write_ensemble(tmp_path / "other.pt", ("background", "lungs"))
    with pytest.raises(InputError, match=r"of the classes background, lungs, the network gives background, heart"):
        network.load_state_dict(torch.load(tmp_path / "other.pt", weights_only=True))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_metadata_without_the_two_is_one_line(bundle):
    (bundle / "configs" / "metadata.json").write_text('{"version": "0.1.0"}')
    with pytest.raises(InputError, match="must describe inputs image and outputs pred"):
        EnsembleNetwork.from_file(bundle / "models" / "model.pt", "cpu")
