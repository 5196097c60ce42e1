"""What a checkpoint ensemble refuses to open: damaged trainings, files of another kind, and files that hold code."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from random_training import make_training
from weak_files import change_plan

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble


@pytest.fixture
def own(tmp_path):
    """A training to break."""
    return make_training(tmp_path / "own", members=3)


def first_checkpoint(folders):
    return folders.fold / "checkpoint_epoch_0000.pth"


class Harmful:
    def __reduce__(self):
        return print, ("code was run",)


def break_missing(folders):
    (folders.fold / "checkpoint_epoch_0002.pth").unlink()


def break_unfinished(folders):
    listing = json.loads(folders.members_json.read_text())
    listing["members"].pop()
    folders.members_json.write_text(json.dumps(listing))


def break_truncated(folders):
    first_checkpoint(folders).write_bytes(first_checkpoint(folders).read_bytes()[:5000])


def break_empty(folders):
    first_checkpoint(folders).write_bytes(b"")


def break_code(folders):
    torch.save({"network_weights": Harmful()}, first_checkpoint(folders))


def break_plain_pickle(folders):
    first_checkpoint(folders).write_bytes(pickle.dumps(Harmful()))


def break_other_network(folders):
    content = torch.load(first_checkpoint(folders), weights_only=True)
    content["network_weights"] = {f"net.{key}": value for key, value in content["network_weights"].items()}
    torch.save(content, first_checkpoint(folders))


def break_shape(folders):
    content = torch.load(first_checkpoint(folders), weights_only=True)
    weights = content["network_weights"]
    content["network_weights"] = {key: torch.cat([value, value]) for key, value in weights.items()}
    torch.save(content, first_checkpoint(folders))


def break_keys(folders):
    torch.save({"state_dict": {}}, first_checkpoint(folders))


def break_list(folders):
    folders.members_json.write_text("[")


def break_no_list(folders):
    folders.members_json.unlink()


def change_plans(folders, change):
    path = folders.results / "plans.json"
    plans = json.loads(path.read_text())
    change(plans["configurations"]["2d"])
    path.write_text(json.dumps(plans))


def break_network_name(folders):
    change_plans(folders, lambda plan: plan["architecture"].update(network_class_name="subprocess.Popen"))


def break_layer_name(folders):
    change_plans(folders, lambda plan: plan["architecture"]["arch_kwargs"].update(nonlin="os.system"))


def break_step_name(folders):
    change_plans(folders, lambda plan: plan.update(preprocessor_name="os"))


def break_plans(folders):
    change_plans(folders, lambda plan: plan.pop("architecture"))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (break_missing, r"checkpoint_epoch_0002\.pth.*cycle 2 is missing \(2 of 3"),
        (break_unfinished, "2 of 3 checkpoints; start the training again"),
        (break_truncated, r"checkpoint_epoch_0000\.pth is not a whole model file"),
        (break_empty, "is not a whole model file"),
        (break_code, "is refused: opening it could run code"),
        (break_plain_pickle, "checkpoint_epoch_0000"),
        (break_other_network, "of another network"),
        (break_shape, "has shape"),
        (break_keys, "expected an entry network_weights"),
        (break_list, r"members\.json is not a readable JSON file"),
        (break_no_list, r"members\.json is not a readable JSON file: there is no such file; train first"),
        (break_network_name, r"network_class_name .* must be one of .*PlainConvUNet.*got 'subprocess\.Popen'"),
        (break_layer_name, r"nonlin .* must be one of torch\.nn\.LeakyReLU.*got 'os\.system'"),
        (break_step_name, "preprocessor_name .* must be DefaultPreprocessor, got 'os'"),
        (break_plans, "configuration lacks a key: architecture"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_damaged_training_is_one_line(own, damage, says, capsys):
    damage(own)
    with pytest.raises(InputError, match=says) as caught:
        CheckpointEnsemble.from_training(own, "cpu")
    assert "\n" not in str(caught.value)
    assert "code was run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "another"}, "no exported ensemble"),
        ({"format_version": 99}, "format version 99"),
        ({"members": []}, "holds no member"),
        ({"plans": None}, "the plans must be an object, got None"),
        ({"mirroring_axes": [2]}, "mirroring axes"),
    ],
)
def test_a_file_of_another_kind_is_one_line(own, tmp_path, change, says):
    path = CheckpointEnsemble.from_training(own, "cpu").export(tmp_path / "model.pt")
    change_plan(path, lambda head: {**head, **change})
    with pytest.raises(InputError, match=says):
        CheckpointEnsemble.from_file(path, "cpu")


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no such model file"):
        CheckpointEnsemble.from_file(tmp_path / "model.pt", "cpu")


def test_a_member_of_nan_is_named(own):
    content = torch.load(first_checkpoint(own), weights_only=True)
    for value in content["network_weights"].values():
        value.fill_(torch.nan)
    torch.save(content, first_checkpoint(own))
    with pytest.raises(InputError, match=r"checkpoint_epoch_0000\.pth: encoder\S+ holds NaN or infinity"):
        CheckpointEnsemble.from_training(own, "cpu")
