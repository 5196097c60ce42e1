"""Plans come out of model files: whatever stands in any place of them, they build a network or are refused."""

from __future__ import annotations

import copy
import json
import math
import pickle

import numpy as np
import pytest
import torch
from hostile import Touch, refuses
from random_training import make_plans, make_training
from weak_files import change_plan

from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.network_plan import NetworkPlan
from medclipsam_monai.weak.nnunet.pickle_checks import check_case_pickles
from medclipsam_monai.weak.nnunet.planning import check_planned
from medclipsam_monai.weak.nnunet.process import nnunet_environment
from medclipsam_monai.weak.nnunet.training import NnUNetTraining

SYSTEM = "torch.nn.functional.torch.os.system"  # nnU-Net walks attributes: this is os.system
DATASET = {
    "channel_names": {"0": "grey"},
    "labels": {"background": 0, "heart": 1},
    "numTraining": 8,
    "file_ending": ".png",
    "overwrite_image_reader_writer": "NaturalImage2DIO",
    "medclipsam": {"window": None, "slice_axis": "axial", "fingerprint": "0"},
}
CYCLIC = {"epochs": 6, "cycles": 3, "gamma": 0.8, "per_cycle": 1, "rule": "late", "initial_lr": 0.01, "seed": 0}
FREE_TEXT = {("channel_names", "0"), ("medclipsam", "window"), ("medclipsam", "fingerprint")}


def whole():
    """Plans with every place that nnU-Net or this package reads."""
    plans = make_plans(False, 1, "2d", (0, 1, 2))
    plans["cyclic"] = dict(CYCLIC)
    settings = plans["configurations"]["2d"]
    intensities = dict.fromkeys(("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"), 1.0)
    plans["foreground_intensity_properties_per_channel"] = {"0": intensities}
    kwargs = settings["architecture"]["arch_kwargs"]
    kwargs.update(dropout_op="torch.nn.modules.dropout.Dropout2d", dropout_op_kwargs={"p": 0.1, "inplace": False})
    return plans


def places(content, path=()):
    """Every place in nested objects and lists, as the keys that lead there."""
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inside:
        yield (*path, key)
        yield from places(value, (*path, key))


def with_value(content, path, value):
    changed = copy.deepcopy(content)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def plan_of(plans, dataset=DATASET, axes=(0, 1)):
    return NetworkPlan(plans, dataset, "2d", axes)


def named(path):
    return ".".join(map(str, path))


@pytest.mark.parametrize("path", list(places(whole())), ids=named)
def test_no_place_of_the_plans_takes_a_name_an_object_or_a_list_of_its_own(path, marker):
    word = SYSTEM if path[-1] not in ("dataset_name", "plans_name", "data_identifier") else "../../evil"
    for value in (word, {"command": f"touch {marker}"}, [[word]], {}, [], object(), 10**400, "x" * 10_000):
        changed = with_value(whole(), path, value)
        if value == {} and (named(path).endswith(("_kwargs", "per_channel.0")) or path == ("cyclic",)):
            continue  # no settings are none
        refuses(lambda changed=changed: plan_of(changed))


@pytest.mark.parametrize("path", list(places(DATASET)), ids=named)
def test_no_place_of_the_data_set_takes_a_name_an_object_or_a_list_of_its_own(path, marker):
    word = "x" * 2000 if path in FREE_TEXT else SYSTEM
    for value in ({"command": f"touch {marker}"}, [[word]], object(), 10**400, word):
        changed = with_value(DATASET, path, value)
        if path == ("medclipsam", "fingerprint") and value == 10**400:
            continue
        refuses(lambda changed=changed: plan_of(whole(), changed))


@pytest.mark.parametrize(
    "path", [(), *(path for path in places(whole()) if isinstance(path[-1], str) and "2d" not in path[-1:])], ids=named
)
def test_no_object_of_the_plans_takes_a_key_of_its_own(path):
    plans = whole()
    place = plans
    for key in path:
        place = place[key]
    if not isinstance(place, dict) or path == ("configurations",):
        return
    for key in ("payload", 3, SYSTEM):
        refuses(lambda key=key: plan_of(with_value(plans, (*path, key), SYSTEM)))


ATTACKS = {
    "nonlin": {"nonlin": SYSTEM, "nonlin_kwargs": {"command": "touch MARKER"}},
    "conv_op": {"conv_op": SYSTEM},
    "norm_op": {"norm_op": SYSTEM, "norm_op_kwargs": {"command": "touch MARKER"}},
    "dropout_op": {"dropout_op": "subprocess.getoutput", "dropout_op_kwargs": {"cmd": "touch MARKER"}},
    "layer_of_torch": {"nonlin": "torch.nn.Linear", "nonlin_kwargs": {"in_features": 10**6, "out_features": 10**6}},
    "block": {"block": "torch.nn.functional.torch.os.system"},
    "keyword_of_a_layer": {"nonlin_kwargs": {"inplace": True, "device": "cuda"}},
    "other_dimension": {"conv_op": "torch.nn.modules.conv.Conv3d"},
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_model_file_that_names_code_runs_none(attack, tmp_path, marker):
    path = CheckpointEnsemble.from_training(make_training(tmp_path / "own", members=1), "cpu").export(tmp_path / "m.pt")
    hostile = json.loads(json.dumps(attack).replace("MARKER", str(marker)))

    def attacked(head):
        head["plans"]["configurations"]["2d"]["architecture"]["arch_kwargs"].update(hostile)
        return head

    change_plan(path, attacked)
    assert "arch_kwargs" in refuses(lambda: CheckpointEnsemble.from_file(path, "cpu")) or "nonlin_kwargs" in attack


@pytest.mark.parametrize(
    "imported", [[], ["conv_op"], ["conv_op", "norm_op", "dropout_op", "nonlin", "n_stages"], "conv_op", None]
)
def test_the_file_does_not_say_what_is_imported(imported):
    plans = whole()
    plans["configurations"]["2d"]["architecture"]["_kw_requires_import"] = imported
    assert "_kw_requires_import in the plans must be conv_op, norm_op, dropout_op, nonlin" in refuses(
        lambda: plan_of(plans)
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n_stages": 10**6}, "n_stages"),
        ({"features_per_stage": [10**9, 8, 16]}, "features_per_stage"),
        ({"features_per_stage": [4096, 4096, 4096], "n_conv_per_stage": [20, 20, 20]}, "weights; expected at most"),
        ({"kernel_sizes": [[3, 3], [3, 3], [10**6, 3]]}, "kernel_sizes"),
        ({"kernel_sizes": [[3, 3], [3, 3], [2, 3]]}, "kernel_sizes"),
        ({"n_conv_per_stage": [2, 2, 10**6]}, "n_conv_per_stage"),
        ({"n_conv_per_stage_decoder": [2, 2, 2]}, "n_conv_per_stage_decoder"),
        ({"strides": [[1, 1], [8, 8], [8, 8]]}, "multiple of its strides"),
        ({"strides": [[1, 1], [0, 2], [2, 2]]}, "strides"),
        ({"norm_op_kwargs": {"eps": math.nan}}, "eps"),
        ({"conv_bias": 1}, "conv_bias"),
    ],
    ids=lambda value: named(value) if isinstance(value, dict) else "",
)
def test_a_network_out_of_all_proportion_is_refused_before_memory_is_taken(change, says):
    plans = whole()
    plans["configurations"]["2d"]["architecture"]["arch_kwargs"].update(change)
    assert says in refuses(lambda: plan_of(plans))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"patch_size": [10**5, 32]}, "patch_size"),
        ({"patch_size": [16_384, 16_384]}, "patch_size"),
        ({"patch_size": [0, 32]}, "patch_size"),
        ({"patch_size": [32]}, "patch_size"),
        ({"spacing": [1e-300, 1.0]}, "spacing"),
        ({"spacing": [math.nan, 1.0]}, "spacing"),
        ({"spacing": [1.0]}, "spacing"),
        ({"normalization_schemes": []}, "normalization_schemes"),
        ({"normalization_schemes": ["CTNormalization"]}, "foreground_intensity_properties"),
        ({"use_mask_for_norm": [0]}, "use_mask_for_norm"),
        ({"resampling_fn_data_kwargs": {"order": 99}}, "order"),
        ({"resampling_fn_data_kwargs": {"device": "cuda"}}, "unknown key device"),
        ({"inherits_from": "2d"}, "in a circle"),
        ({"inherits_from": SYSTEM}, "no configuration"),
        ({"previous_stage": "3d_lowres"}, "unknown key previous_stage"),
        ({"next_stage": "3d_lowres"}, "unknown key next_stage"),
        ({"preprocessor_name": "os"}, "preprocessor_name"),
    ],
    ids=lambda value: named(value) if isinstance(value, dict) else "",
)
def test_a_configuration_out_of_range_is_refused(change, says):
    plans = whole()
    plans["foreground_intensity_properties_per_channel"] = {"0": {}}
    plans["configurations"]["2d"].update(change)
    assert says in refuses(lambda: plan_of(plans))


@pytest.mark.parametrize(("features", "fits"), [(4096, False), (32, True)])
def test_a_patch_and_features_whose_product_would_take_all_memory_are_refused(features, fits):
    plans = whole()
    plans["configurations"]["2d"]["patch_size"] = [4096, 8192]
    plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["features_per_stage"] = [features, 8, 8]
    if fits:
        assert plan_of(plans)
    else:
        assert "137,438,953,472 numbers between two layers" in refuses(lambda: plan_of(plans))


@pytest.mark.parametrize("forward", [[0, 0, 1], [0, 1], [2, 1, 0], [0, 1, 3]])
def test_axes_that_are_no_order_and_its_inverse_are_refused(forward):
    assert "transpose" in refuses(lambda: plan_of({**whole(), "transpose_forward": forward}))


@pytest.mark.parametrize("axes", [(2,), (-1,), (0, 0), (True,), ("0",), (0.0,)])
def test_mirroring_axes_are_axes(axes):
    assert "mirroring axes must lie in 0..1" in refuses(lambda: plan_of(whole(), axes=axes))


def residual(plans, configuration):
    architecture = plans["configurations"][configuration]["architecture"]
    architecture["network_class_name"] = architecture["network_class_name"].replace("PlainConv", "ResidualEncoder")
    architecture["arch_kwargs"]["n_blocks_per_stage"] = architecture["arch_kwargs"].pop("n_conv_per_stage")


def torch_resampling(plans, configuration):
    settings = plans["configurations"][configuration]
    own = {"is_seg": False, "force_separate_z": False, "memefficient_seg_resampling": False}
    for what in ("data", "seg", "probabilities"):
        settings[f"resampling_fn_{what}"], settings[f"resampling_fn_{what}_kwargs"] = "resample_torch_fornnunet", own


def inherited(plans, configuration):
    plans["configurations"]["base"] = plans["configurations"].pop(configuration)
    plans["configurations"][configuration] = {"inherits_from": "base", "batch_size": 4}


def as_planned(plans, configuration):
    plans["cyclic"] = {}


@pytest.mark.parametrize("change", [as_planned, residual, torch_resampling, inherited])
@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_what_nnunet_writes_is_built(change, configuration):
    plans = make_plans(configuration != "2d", 1, configuration, (0, 1, 2))
    change(plans, configuration)
    plan = NetworkPlan(plans, {**DATASET, "reference": "anything", "licence": ["x"]}, configuration, (0, 1))
    sides = (8, 32, 32)[-int(configuration[0]) :] if configuration != "2d" else (32, 32)
    assert plan.build_network()(torch.zeros(1, 1, *sides)).shape == (1, 2, *sides)


def planned_work(tmp_path):
    """A work folder that claims to be planned, with a checkpoint to go on from."""
    folders = WorkFolders(tmp_path / "work")
    folders.preprocessed.mkdir(parents=True)
    plans = make_plans(False, 1, "2d", (0, 1, 2))
    cyclic = {**CYCLIC, "iterations": 1, "validation_iterations": 1, "final_validation": False}
    folders.plans_json.write_text(json.dumps({**plans, "cyclic": cyclic}))
    (folders.preprocessed / "dataset.json").write_text(json.dumps(DATASET))
    planned = {"size": "tiny", "configuration": "2d", "data": "0", "cyclic": cyclic}
    folders.planned_json.write_text(json.dumps(planned))
    return folders


def test_a_work_folder_from_elsewhere_is_checked_before_nnunet_looks_at_it(tmp_path, marker, monkeypatch):
    monkeypatch.setattr(
        "medclipsam_monai.weak.nnunet.training.run_nnunet", lambda *_: pytest.fail("nnU-Net was started")
    )
    folders = planned_work(tmp_path)
    check_planned(folders)
    plans = json.loads(folders.plans_json.read_text())
    plans["configurations"]["2d"]["architecture"]["arch_kwargs"].update(ATTACKS["nonlin"])
    folders.plans_json.write_text(json.dumps(plans))
    assert "nonlin" in refuses(NnUNetTraining(folders, device="cpu", progress=False).run)


def test_the_pickles_of_a_preprocessed_data_set_are_data(tmp_path, marker):
    plain = {"spacing": [1.0, 2.0], "class_locations": {1: np.arange(6).reshape(2, 3)}, "mean": np.float32(2)}
    for protocol in range(3, pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / f"case_{protocol}.pkl").write_bytes(pickle.dumps(plain, protocol))
    check_case_pickles(tmp_path)
    for content in (pickle.dumps(Touch(marker)), pickle.dumps([np.array([Touch(marker)], dtype=object)]), b"", b"text"):
        (tmp_path / "case_9.pkl").write_bytes(content)
        assert "case_9.pkl is refused" in refuses(lambda: check_case_pickles(tmp_path))


def test_nnunet_opens_checkpoints_as_tensors_whatever_it_asks_for(tmp_path, marker, monkeypatch):
    environment = nnunet_environment(WorkFolders(tmp_path), workers=0)
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", environment["TORCH_FORCE_WEIGHTS_ONLY_LOAD"])
    torch.save({"network_weights": Touch(marker)}, tmp_path / "checkpoint_latest.pth")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "checkpoint_latest.pth", weights_only=False)


@pytest.mark.parametrize("file", ["../../evil.pth", "/etc/passwd", "", 3, None, {"a": 1}])
def test_a_list_of_members_names_files_of_its_own_folder(file, tmp_path):
    folders = make_training(tmp_path / "own", members=1)
    listing = {"members": [{"file": file, "cycle": 0}], "expected": 1}
    folders.members_json.write_text(json.dumps(listing))
    assert "is no list of members" in refuses(lambda: CheckpointEnsemble.from_training(folders, "cpu"))


@pytest.mark.parametrize("name", ["../../elsewhere", "3d_lowres", 7, None, ["2d"]])
def test_a_planned_configuration_is_one_of_two(name, tmp_path):
    folders = WorkFolders(tmp_path)
    folders.preprocessed.mkdir(parents=True)
    folders.planned_json.write_text(json.dumps({"configuration": name}))
    assert folders.configuration == "2d"


def test_plans_that_enlarge_an_image_beyond_the_limit_are_refused(tmp_path):
    folders = make_training(tmp_path / "own", members=1)
    plans = json.loads((folders.results / "plans.json").read_text())
    plans["configurations"]["2d"]["spacing"] = [1e-4, 1e-4]
    (folders.results / "plans.json").write_text(json.dumps(plans))
    ensemble = CheckpointEnsemble.from_training(folders, "cpu")
    assert "1 x 320,000 x 320,000 = 102,400,000,000 voxels" in refuses(
        lambda: ensemble.predict_tensor(torch.rand(1, 32, 32))
    )


WRONG = {
    "int8": lambda value: value.to(torch.int8),
    "bool": lambda value: value.bool(),
    "complex": lambda value: value.to(torch.complex64),
    "nan": lambda value: torch.full_like(value, torch.nan),
    "infinity": lambda value: torch.full_like(value, torch.inf),
    "too_large": lambda value: torch.full_like(value, 1e300, dtype=torch.float64),
    "expanded": lambda value: torch.zeros(1).expand(value.shape),
    "sparse": lambda value: value.to_sparse(),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("exported", [True, False], ids=["file", "training"])
def test_members_of_no_finite_weights_are_refused_by_the_first_of_them(wrong, exported, tmp_path):
    folders = make_training(tmp_path / "own", members=2)
    ensemble = CheckpointEnsemble.from_training(folders, "cpu")
    path = ensemble.export(tmp_path / "model.pt") if exported else folders.fold / "checkpoint_epoch_0001.pth"
    content = torch.load(path, weights_only=True)
    start, weights = ("members.1.", content) if exported else ("", content["network_weights"])
    place = next(name for name in weights if name.startswith(start) and name.endswith("convs.1.conv.weight"))
    weights[place] = wrong(weights[place])
    key = place.removeprefix(start)
    torch.save(content, path)
    load = CheckpointEnsemble.from_file if exported else CheckpointEnsemble.from_training
    assert f"checkpoint_epoch_0001.pth: {key} " in refuses(lambda: load(path if exported else folders, "cpu"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_members_of_any_floating_point_weights_predict(dtype, tmp_path):
    ensemble = CheckpointEnsemble.from_training(make_training(tmp_path / "own", members=1), "cpu")
    image = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = ensemble.predict_tensor(image).probability
    again = CheckpointEnsemble.from_file(ensemble.export(tmp_path / "model.pt", dtype), "cpu")
    found = again.predict_tensor(image).probability
    torch.testing.assert_close(found, expected, atol=3e-2 if dtype == torch.bfloat16 else 5e-3, rtol=0)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("members",), {"a": 1}),
        (("members",), [3]),
        (("members", 0), "../../evil"),
        (("members",), ["a"] * 10_001),
        (("members",), ["a", "b"]),
        (("mirroring_axes",), "ab"),
        (("mirroring_axes",), 3),
        (("format_version",), [1]),
        (("format_version",), True),
        (("configuration",), ["2d"]),
        (("configuration",), SYSTEM),
        (("plans",), [1]),
        (("dataset_json",), "dataset.json"),
    ],
    ids=str,
)
def test_no_entry_of_an_ensemble_file_takes_another_shape(keys, value, tmp_path):
    path = CheckpointEnsemble.from_training(make_training(tmp_path / "own", members=1), "cpu").export(tmp_path / "m.pt")
    change_plan(path, lambda head: with_value(head, keys, value))
    refuses(lambda: CheckpointEnsemble.from_file(path, "cpu"))


def test_what_an_ensemble_file_does_not_say_is_named(tmp_path):
    made = CheckpointEnsemble.from_training(make_training(tmp_path / "own", members=1), "cpu")
    for key in ("plans", "dataset_json", "configuration", "mirroring_axes", "members"):
        path = made.export(tmp_path / "m.pt")
        change_plan(path, lambda head, key=key: {name: value for name, value in head.items() if name != key})
        assert f"lacks {key}" in refuses(lambda path=path: CheckpointEnsemble.from_file(path, "cpu"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"plan": torch.zeros(4)}, "its plan is no text"),
        ({"plan": torch.zeros(2, 2, dtype=torch.uint8)}, "its plan is no text"),
        ({"plan": torch.full((4,), 255, dtype=torch.uint8)}, "its plan is no text"),
        ({"plan": torch.zeros(4, dtype=torch.uint8)}, "the plan in "),
        ({"plan": torch.frombuffer(bytearray(b"[" * 10**5), dtype=torch.uint8)}, "the plan in "),
        ({"plan": torch.frombuffer(bytearray(b"[]"), dtype=torch.uint8)}, "must hold a JSON object, got a list"),
        ({"plan": "{}"}, "no exported ensemble"),
        ({"members.0": torch.zeros(1)}, "'members.0' is of none of its 1 members"),
        ({"members.1.weight": torch.zeros(1)}, "'members.1.weight' is of none of its 1 members"),
        ({"members.00.weight": torch.zeros(1)}, "'members.00.weight' is of none of its 1 members"),
        ({3: torch.zeros(1)}, "3 is of none of its 1 members"),
        ({"members.0.unknown": torch.zeros(1)}, "1 unknown, such as unknown"),
        ({"members.0.unknown": [1]}, "holds no weights"),
    ],
    ids=str,
)
def test_no_entry_of_an_ensembles_state_dict_takes_another_shape(change, says, tmp_path):
    path = CheckpointEnsemble.from_training(make_training(tmp_path / "own", members=1), "cpu").export(tmp_path / "m.pt")
    torch.save({**torch.load(path, weights_only=True), **change}, path)
    assert says in refuses(lambda: CheckpointEnsemble.from_file(path, "cpu"))


def test_a_file_of_the_earlier_form_says_how_it_is_made_anew(tmp_path):
    content = {"format": "medclipsam_monai checkpoint ensemble", "format_version": 1, "plans": {}, "members": []}
    torch.save(content, tmp_path / "m.pt")
    line = refuses(lambda: CheckpointEnsemble.from_file(tmp_path / "m.pt", "cpu"))
    assert "has the form of an earlier version of this package; run the training's configuration again" in line


def test_an_ensemble_file_that_holds_code_runs_none(tmp_path, marker):
    path = CheckpointEnsemble.from_training(make_training(tmp_path / "own", members=1), "cpu").export(tmp_path / "m.pt")
    content = torch.load(path, weights_only=True)
    for key in ("plan", "members.0.more", next(key for key in content if key != "plan")):
        torch.save({**content, key: Touch(marker)}, path)
        assert "m.pt is refused: opening it could run code" in refuses(
            lambda: CheckpointEnsemble.from_file(path, "cpu")
        )
