"""Which weights a bundle runs: those asked for before any checkpoint that lies there; and the log says which."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo_checks
from safetensors.torch import load_file, save_file
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import file_sha256
from medclipsam_monai.finetune import ContrastiveCLIP
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.weights.bundles import chosen_checkpoint
from medclipsam_monai.zero_shot.build import build_network, save_checkpoint

FINETUNE, WEAK, ZERO_SHOT = zoo_checks.NAMES
OVERLAYS = [(), ("batch_inference.json",), ("evaluate.json",)]


def refused(flow: Any) -> str:
    """The one line by which a workflow does not start."""
    with pytest.raises(RuntimeError) as error:
        flow.initialize()
    cause: BaseException | None = error.value
    while cause is not None and not isinstance(cause, InputError):
        cause = cause.__cause__
    assert cause is not None and "\n" not in str(cause)
    return str(cause)


def logged(capsys: Any) -> list[str]:
    """What the log says of weights: names and hashes."""
    said = [line.partition(" - weights of ")[2] for line in capsys.readouterr().out.splitlines()]
    return [line for line in said if line]


def other_weights(source: Path, target: Path) -> Path:
    """A copy of a CLIP's or SAM's folder with other weights of the same shapes."""
    shutil.copytree(source, target)
    (file,) = target.glob("*.safetensors")
    save_file(
        {key: value + 0.01 if value.is_floating_point() else value for key, value in load_file(file).items()}, file
    )
    return target


@pytest.fixture
def zero_shot(tmp_path, tiny_preset) -> Path:
    """The bundle after its own export, with weights in model.pt that are of no preset."""
    bundle = zoo_checks.copy_bundle(ZERO_SHOT, tmp_path)
    network = build_network(tiny_preset, "cpu")
    for parameter in network.parameters():
        parameter.data.add_(0.5)
    save_checkpoint(network, bundle / "models" / "model.pt")
    # its own preset is the small one, as the user who exported it would set it
    config = bundle / "configs" / "inference.json"
    config.write_text(config.read_text().replace("or DEFAULT_PRESET", f"or '{tiny_preset}'"))
    return bundle


def same(state: dict[str, Tensor], start: str, file: Path) -> bool:
    expected = load_file(file)
    found = {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
    shared = expected.keys() & found.keys()
    assert len(shared) > 20
    return all(torch.equal(expected[key], found[key]) for key in shared)


@pytest.mark.parametrize("overlay", OVERLAYS, ids=str)
@pytest.mark.parametrize("option", ["clip_weights", "sam_weights", "preset", None])
def test_zero_shot_options_win_over_the_checkpoint(
    zero_shot, tmp_path, tiny_preset, clip_folder, sam_folder, option, overlay, capsys
):
    clip, sam = clip_folder, sam_folder
    if option == "clip_weights":
        clip = value = other_weights(clip_folder, tmp_path / "clip")
    elif option == "sam_weights":
        sam = value = other_weights(sam_folder, tmp_path / "sam")
    else:
        value = tiny_preset
    given = {} if option is None else {option: str(value)}
    flow = zoo_checks.workflow(zero_shot, "infer", "inference.json", *overlay, device="cpu", **given)
    flow.initialize()
    state = flow.network_def.state_dict()
    checkpoint = zero_shot / "models" / "model.pt"
    if option is None:
        assert all(torch.equal(state[key], value) for key, value in torch.load(checkpoint).items())
        assert logged(capsys) == [f"clip and sam: model.pt, SHA-256 {file_sha256(checkpoint)}"]
        return
    files = clip / "open_clip_model.safetensors", sam / "sam.safetensors"
    assert same(state, "encoder.clip.", files[0]) and same(state, "segmenter.sam.", files[1])
    hashes = [file_sha256(file) for file in files]
    said = logged(capsys)
    assert [line.rpartition(" ")[2] for line in said] == hashes
    assert [line.split(":")[0] for line in said] == ["clip", "sam"]


def test_export_writes_the_weights_that_are_asked_for(zero_shot, tiny_preset):
    flow = zoo_checks.workflow(
        zero_shot, "infer", "inference.json", run_id="export", preset=str(tiny_preset), device="cpu"
    )
    zoo_checks.run_workflow(flow)
    written = torch.load(zero_shot / "models" / "model.pt", weights_only=True)
    expected = build_network(tiny_preset, "cpu").state_dict()
    assert written.keys() == expected.keys() and all(
        torch.equal(written[key], value) for key, value in expected.items()
    )


def test_a_named_checkpoint_runs_whatever_lies_there(zero_shot, tmp_path, tiny_preset, capsys):
    named = tmp_path / "named.pt"
    torch.save({"model": build_network(tiny_preset, "cpu").state_dict()}, named)  # as earlier versions wrote it
    flow = zoo_checks.workflow(
        zero_shot, "infer", "inference.json", ckpt_path=str(named), preset=str(tiny_preset), device="cpu"
    )
    flow.initialize()
    state = flow.network_def.state_dict()
    assert all(torch.equal(state[key], value) for key, value in torch.load(named)["model"].items())
    assert logged(capsys) == [f"clip and sam: named.pt, SHA-256 {file_sha256(named)}"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"ckpt_path": "gone.pt"}, "ckpt_path: there is no file gone.pt"),
        ({"ckpt_path": "MODEL", "clip_weights": "demo/clip"}, "a checkpoint holds the weights of both networks"),
        (
            {"ckpt_path": "MODEL", "preset": "demo"},
            "is a checkpoint of another architecture than this ZeroShotSegmenter",
        ),
        ({"preset": "nothing"}, "nothing"),
        ({"task": "nothing"}, "nothing"),
        ({"clip_weights": ""}, "clip must name weights"),
    ],
    ids=str,
)
def test_zero_shot_options_that_cannot_be_are_one_line(zero_shot, given, says):
    given = {key: str(zero_shot / "models" / "model.pt") if value == "MODEL" else value for key, value in given.items()}
    flow = zoo_checks.workflow(zero_shot, "infer", "inference.json", device="cpu", **given)
    assert says in refused(flow)


def test_a_checkpoint_that_lies_there_and_is_of_other_networks_is_one_line(tmp_path, tiny_preset):
    bundle = zoo_checks.copy_bundle(ZERO_SHOT, tmp_path)
    save_checkpoint(build_network(tiny_preset, "cpu"), bundle / "models" / "model.pt")
    flow = zoo_checks.workflow(bundle, "infer", "inference.json", device="cpu")
    assert "is a checkpoint of another architecture than this ZeroShotSegmenter" in refused(flow)


@pytest.fixture
def tuned(tmp_path, clip_folder) -> tuple[Path, dict[str, Tensor]]:
    """The fine-tuning bundle after a training: weights that are of no folder, and what `clip_folder` says of them."""
    bundle = zoo_checks.copy_bundle(FINETUNE, tmp_path)
    state = {key: value + 0.5 if value.is_floating_point() else value for key, value in _clip(clip_folder).items()}
    (bundle / "models").mkdir()
    torch.save(state, bundle / "models" / "model.pt")
    shutil.copytree(clip_folder, bundle / "models" / "clip")
    return bundle, state


def _clip(source: Any) -> dict[str, Tensor]:
    return ContrastiveCLIP(source).state_dict()


CONFIGS = [
    ("infer", "inference.json"),
    ("train", "train.json", "evaluate.json"),
    ("train", "train.json", "biomedclip.json", "evaluate.json"),
    ("train", "train.json", "released_script.json", "evaluate.json"),
]


@pytest.mark.parametrize("configs", CONFIGS, ids=str)
@pytest.mark.parametrize("option", ["clip_weights", "ckpt_path", None])
def test_fine_tuning_options_win_over_the_checkpoint(tuned, tmp_path, clip_folder, option, configs, capsys):
    bundle, state = tuned
    kind, *files = configs
    if option == "clip_weights":
        value = other_weights(clip_folder, tmp_path / "other")
        expected, file = _clip(value), value / "open_clip_model.safetensors"
    elif option == "ckpt_path":
        value = file = bundle / "models" / "mine.pt"
        expected = {key: tensor * 2 for key, tensor in state.items()}
        torch.save(expected, file)
    else:
        value, expected, file = None, state, bundle / "models" / "model.pt"
    given = {} if option is None else {option: str(value)}
    flow = zoo_checks.workflow(bundle, kind, *files, device="cpu", **given)
    flow.initialize()
    found = flow.parser.get_parsed_content("network").state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in expected)
    (said,) = logged(capsys)
    assert said.startswith("the CLIP: ") and said.endswith(file_sha256(file))


def test_training_starts_from_the_option_and_the_log_says_so(tuned, tmp_path, clip_folder, capsys):
    bundle, _ = tuned
    other = other_weights(clip_folder, tmp_path / "other")
    few = {"num_phantoms": 30, "epochs": 1, "batch_size": 4, "retrieval_batch": 4, "device": "cpu"}
    flow = zoo_checks.workflow(bundle, "train", "train.json", clip_weights=str(other), **few)
    flow.initialize()
    found = flow.parser.get_parsed_content("network").state_dict()
    assert all(torch.equal(found[key], value) for key, value in _clip(other).items())
    flow.run()
    assert logged(capsys)[0] == (
        f"the CLIP that training starts from: other, SHA-256 {file_sha256(other / 'open_clip_model.safetensors')}"
    )


def test_a_tuned_checkpoint_of_another_architecture_is_one_line(tuned):
    bundle, _ = tuned
    shutil.rmtree(bundle / "models" / "clip")  # which says what it is of
    flow = zoo_checks.workflow(bundle, "infer", "inference.json", device="cpu")
    assert "is a checkpoint of another architecture than this ContrastiveCLIP" in refused(flow)


@pytest.mark.parametrize("named", [True, False])
def test_the_ensemble_that_is_named_runs(tmp_path, named, capsys):
    bundle = zoo_checks.copy_bundle(WEAK, tmp_path, models=True)
    one = tmp_path / "one.pt"
    CheckpointEnsemble.from_file(bundle / "models" / "model.pt", "cpu").member_alone(0).export(one)
    given = {"ckpt_path": str(one)} if named else {}
    flow = zoo_checks.workflow(bundle, "infer", "inference.json", device="cpu", **given)
    flow.initialize()
    assert len(flow.network_def.ensemble.members) == (1 if named else 9)
    file = one if named else bundle / "models" / "model.pt"
    assert logged(capsys) == [f"ensemble: {file.name}, SHA-256 {file_sha256(file)}"]


def test_a_run_from_another_folder_uses_the_bundles_own_files(tmp_path, monkeypatch):
    bundle = zoo_checks.copy_bundle(WEAK, tmp_path, models=True)
    monkeypatch.chdir(tmp_path)
    flow = zoo_checks.ConfigWorkflow(
        config_file=f"{WEAK}/configs/inference.json", workflow_type="infer", device="cpu", logging_file=False
    )
    flow.initialize()
    assert flow.parser.get_parsed_content("bundle_root") == WEAK
    assert flow.parser.get_parsed_content("output_dir") == f"{WEAK}/eval"
    assert len(flow.network_def.ensemble.members) == 9
    assert bundle == tmp_path / WEAK


def test_a_checkpoint_is_taken_if_nothing_else_is_asked_for(tmp_path):
    there, gone = tmp_path / "model.pt", tmp_path / "gone.pt"
    there.touch()
    assert chosen_checkpoint(None, there, None, None) == there
    assert chosen_checkpoint(None, there, None, "demo/clip") is None
    assert chosen_checkpoint(None, gone) is None
    assert chosen_checkpoint(str(there), gone, "demo") == there
    with pytest.raises(InputError, match=r"there is no file .*gone\.pt"):
        chosen_checkpoint(gone, there)
