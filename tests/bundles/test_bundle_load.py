"""``monai.bundle.load`` with MONAI's defaults gives trained weights, from any working directory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo_checks
from ignite.handlers import Checkpoint
from monai.bundle import load
from monai.networks.utils import copy_model_state
from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.finetune import ContrastiveCLIP
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.weak.ensemble.network import EnsembleNetwork
from medclipsam_monai.zero_shot.build import build_network
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter

FINETUNE, WEAK, ZERO_SHOT = zoo_checks.NAMES
BOTH = pytest.mark.parametrize("kind", ["train", "inference"])


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Tests run in a folder that is no bundle."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


def with_models(name: str, tmp_path: Path, network: nn.Module | None = None) -> tuple[Path, dict[str, Tensor]]:
    """A bundle whose model.pt holds other weights than those that ship, and these weights."""
    bundle = zoo_checks.copy_bundle(name, tmp_path, models=network is None)
    path = bundle / "models" / "model.pt"
    path.parent.mkdir(exist_ok=True)
    state = torch.load(path, weights_only=True) if network is None else network.state_dict()
    changed = {key: value + 0.01 if value.is_floating_point() else value for key, value in state.items()}
    torch.save(changed, path)
    return bundle, changed


def has(network: nn.Module, state: dict[str, Tensor]) -> bool:
    found = network.state_dict()
    return found.keys() == state.keys() and all(torch.equal(found[key].cpu(), value) for key, value in state.items())


@BOTH
def test_the_ensemble(tmp_path, kind):
    bundle, state = with_models(WEAK, tmp_path)
    network = load(WEAK, bundle_dir=tmp_path, workflow_type=kind, device="cpu")
    assert isinstance(network, EnsembleNetwork) and has(network, state)
    image = 255 * torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    # the configuration's own way of predicting, without mirroring
    expected = CheckpointEnsemble.from_file(bundle / "models" / "model.pt", "cpu", mirroring=False)
    assert torch.equal(network(image)[0], expected.predict_tensor(image[0]).probability)
    shipped = CheckpointEnsemble.from_file(zoo_checks.BUNDLES / WEAK / "models" / "model.pt", "cpu", mirroring=False)
    assert not torch.equal(network(image)[0], shipped.predict_tensor(image[0]).probability)


def test_the_zero_shot_network(tmp_path):
    _, state = with_models(ZERO_SHOT, tmp_path, build_network(device="cpu"))
    network = load(ZERO_SHOT, bundle_dir=tmp_path, workflow_type="inference", device="cpu")
    assert isinstance(network, ZeroShotSegmenter) and has(network, state)


def test_the_zero_shot_bundle_has_no_training_so_the_default_gives_its_weights(tmp_path):
    _, state = with_models(ZERO_SHOT, tmp_path, build_network(device="cpu"))
    with pytest.warns(UserWarning, match="return state dict instead"):
        found = load(ZERO_SHOT, bundle_dir=tmp_path, device="cpu")
    network = build_network(device="cpu")
    network.load_state_dict(found)
    assert has(network, state)


@BOTH
def test_the_tuned_clip(tmp_path, kind):
    _, state = with_models(FINETUNE, tmp_path, ContrastiveCLIP("demo/clip"))
    network = load(FINETUNE, bundle_dir=tmp_path, workflow_type=kind, device="cpu")
    assert isinstance(network, ContrastiveCLIP) and has(network, state)


def test_a_tuned_clip_of_another_architecture_is_loaded_for_inference_and_noted_for_training(
    tmp_path, clip_folder, capsys
):
    bundle, state = with_models(FINETUNE, tmp_path, ContrastiveCLIP(clip_folder))
    (bundle / "models" / "clip").symlink_to(clip_folder)  # as training leaves it
    network = load(FINETUNE, bundle_dir=tmp_path, workflow_type="inference", device="cpu")
    assert has(network, state)
    load(FINETUNE, bundle_dir=tmp_path, device="cpu")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "another architecture" in line]
    assert "needs workflow_type='inference'" in line


NETWORKS = {
    ZERO_SHOT: lambda: build_network(device="cpu"),
    WEAK: lambda: EnsembleNetwork.from_file(zoo_checks.BUNDLES / WEAK / "models" / "model.pt", "cpu"),
    FINETUNE: lambda: ContrastiveCLIP("demo/clip"),
}


def by_monai_label(network: nn.Module, content: Any, path: Path) -> None:
    network.load_state_dict(content.get("model", content), strict=True)


def by_deploys_sdk(network: nn.Module, content: Any, path: Path) -> None:
    found = next((content[key] for key in ("state_dict", "model") if isinstance(content.get(key), dict)), content)
    network.load_state_dict(found, strict=True)


def by_ignite(network: nn.Module, content: Any, path: Path) -> None:
    Checkpoint.load_objects(to_load={"model": network}, checkpoint=content)


def by_monai(network: nn.Module, content: Any, path: Path) -> None:
    _, changed, unchanged = copy_model_state(network, content)  # of ckpt_export and load
    assert len(changed) == len(content) and not unchanged


@pytest.mark.parametrize("loader", [by_monai_label, by_deploys_sdk, by_ignite, by_monai], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_program_that_reads_bundles_loads_the_plain_state_dict(name, loader, tmp_path):
    bundle, state = with_models(name, tmp_path, None if name == WEAK else NETWORKS[name]())
    path = bundle / "models" / "model.pt"
    network = NETWORKS[name]()
    loader(network, torch.load(path, weights_only=True), path)
    assert has(network, state)


def test_an_empty_ensemble_network_takes_any_ensemble_and_says_so_until_then(tmp_path):
    network = EnsembleNetwork.from_file(tmp_path / "none.pt", "cpu")
    assert network.state_dict() == {}
    with pytest.raises(InputError, match=r"none\.pt: there is no such model file"):
        network(torch.zeros(1, 1, 64, 64))
    _, state = with_models(WEAK, tmp_path)
    by_deploys_sdk(network, state, tmp_path)
    assert has(network, state) and network.ensemble.names == ("background", "heart")


def test_a_state_dict_that_is_no_ensemble_is_one_line():
    with pytest.raises(InputError, match="the state dict: is no exported ensemble"):
        EnsembleNetwork().load_state_dict({"weight": torch.zeros(1)})


def test_weights_in_a_file_stay_there(tmp_path):
    """The state dict of a network from a file is the file's own, so no member is copied into memory."""
    network = EnsembleNetwork.from_file(zoo_checks.BUNDLES / WEAK / "models" / "model.pt", "cpu")
    first = network.state_dict()
    again = network.state_dict()
    assert all(first[key].data_ptr() == again[key].data_ptr() for key in first if key != "plan")
    weights = network.ensemble.members[0].weights()
    assert all(first[f"members.0.{key}"].data_ptr() == value.data_ptr() for key, value in weights.items())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_page_shows_how(name, tmp_path, monkeypatch):
    _, state = with_models(name, tmp_path / "bundles", None if name == WEAK else NETWORKS[name]())
    monkeypatch.chdir(tmp_path)
    page = (tmp_path / "bundles" / name / "docs" / "README.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(block, names)
    assert has(names["network"], state)
