"""Presets as data: tasks, one preset built on another, and what becomes of parameters when a method changes."""

from __future__ import annotations

import json

import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.presets import load_preset, preset_names
from medclipsam_monai.prompts import prompt_set_names
from medclipsam_monai.saliency.gradcam import GradCAM
from medclipsam_monai.saliency.gscorecam import GScoreCAM
from medclipsam_monai.saliency.method import make_saliency
from medclipsam_monai.transforms import FixedThreshold, KeepLargestComponents, OtsuThreshold
from medclipsam_monai.transforms.coarse import make_coarse
from medclipsam_monai.weights.entries import known_weights

V2 = ["biomedclip_sam_b", "biomedclip_sam_l", "biomedclip_sam_h", "biomedclip_medsam"]
TASKS = ["breast_ultrasound", "brain_mri", "lung_xray", "lung_ct"]


def write(path, **content):
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(("name", "sam"), zip(V2, ["sam_vit_b", "sam_vit_l", "sam_vit_h", "medsam"], strict=True))
@pytest.mark.parametrize(
    ("task", "saliency", "boxes", "points", "components"),
    [
        (None, (9, 1.0), "single", None, "confident"),
        ("breast_ultrasound", (9, 1.0), "single", None, "confident"),
        ("brain_mri", (9, 2.0), "single", None, "confident"),
        ("lung_xray", (7, 0.1), None, 10, "largest"),
        ("lung_ct", (7, 0.1), "components", None, "largest"),
    ],
)
def test_version_2_has_its_parameters_for_each_task(name, sam, task, saliency, boxes, points, components):
    preset = load_preset(name).for_task(task)
    assert (preset.name, preset.clip, preset.sam, preset.task) == (name, "biomedclip", sam, task)
    assert (preset.settings.saliency["layer"], preset.settings.saliency["gamma"]) == saliency
    assert (preset.settings.prompts["boxes"], preset.settings.prompts.get("points")) == (boxes, points)
    assert preset.settings.coarse["components"] == components
    if components == "largest":
        assert preset.settings.coarse == {"threshold": "otsu", "components": "largest", "k": 2}


PAIRS = {
    "biomedclip_sam2_tiny": ("biomedclip", "sam2_tiny"),
    "biomedclip_edgetam": ("biomedclip", "edgetam"),
    "medclip_samv2": ("medclip_samv2", "sam_vit_h"),
    "medsiglip_sam2_base_plus": ("medsiglip", "sam2_base_plus"),
}


@pytest.mark.parametrize("name", PAIRS)
def test_other_pairs_have_the_published_gammas_and_prompts(name):
    preset, published = load_preset(name), load_preset("biomedclip_sam_b")
    assert (preset.clip, preset.sam) == PAIRS[name]
    assert ("not measured" in preset.description or "nothing of this pair" in preset.description) == (
        name != "medclip_samv2"
    )
    for task in (None, *TASKS):
        ours, theirs = preset.for_task(task).settings, published.for_task(task).settings
        if name.startswith("medsiglip"):  # 27 blocks for 12
            assert ours.saliency["layer"] == {9: 22, 7: 17}[theirs.saliency["layer"]]
            ours = ours.replace({"saliency.layer": theirs.saliency["layer"]})
        assert ours == theirs


@pytest.mark.parametrize("name", preset_names())
def test_published_weights_of_a_preset_are_of_the_kind_that_loads_them(name):
    preset = load_preset(name)
    for weights, role, kind in ((preset.clip, "clip", preset.encoder), (preset.sam, "sam", preset.segmenter)):
        if "/" in weights:
            continue  # ships with the package
        entry = known_weights()[weights]
        assert (entry.role, entry.kind) == (role, kind)


def test_version_1_has_its_own_method():
    preset = load_preset("biomedclip_v1")
    assert preset.sam == "sam_vit_b"
    assert make_saliency(preset.settings.saliency) == GScoreCAM(channels=300)
    kernels = {
        key: preset.settings.coarse[key] for key in preset.settings.coarse if key.startswith(("gaussian", "bilateral"))
    }
    assert kernels == {
        "gaussian_sxy": 3,
        "gaussian_compat": 3,
        "bilateral_sxy": 60,
        "bilateral_srgb": 5,
        "bilateral_compat": 5,
    }
    assert (
        preset.settings.coarse["threshold"],
        preset.settings.coarse["iterations"],
        preset.settings.coarse["tau"],
    ) == ("crf", 1, 1.05)


@pytest.mark.parametrize("name", preset_names())
def test_every_task_of_every_preset_makes_its_methods(name):
    preset = load_preset(name)
    assert list(preset.tasks) in ([], TASKS) or name == "small"
    assert set(preset.tasks) <= set(prompt_set_names())
    for task in (None, *preset.tasks):
        chosen = preset.for_task(task)
        make_saliency(chosen.settings.saliency)
        if chosen.settings.coarse["threshold"] != "crf":  # an extra; its own tests make it
            make_coarse(chosen.settings.coarse)
        assert chosen.parameters["task"] == task and "tasks" not in chosen.parameters
    assert all(settings["description"] for settings in preset.tasks.values())


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("biomedclip_v1", "lung", "has no task 'lung'; expected one of breast_ultrasound, brain_mri, lung_xray, lung"),
        ("demo", "lung_xray", "preset demo has no task 'lung_xray'; it has none"),
    ],
)
def test_a_task_that_is_none_is_named_with_those_there_are(name, task, message):
    with pytest.raises(InputError, match=message):
        load_preset(name).for_task(task)


DEMO_COARSE = {"threshold": "otsu", "components": "confident", "min_confidence": 0.3, "keep_best": True}


@pytest.mark.parametrize(
    ("settings", "group", "expected"),
    [
        ({"saliency.method": "gradcam"}, "saliency", {"method": "gradcam"}),
        ({"saliency.method": "gscorecam", "saliency.batch": 4}, "saliency", {"method": "gscorecam", "batch": 4}),
        (
            {"coarse.components": "largest", "coarse.k": 2},
            "coarse",
            {"threshold": "otsu", "components": "largest", "k": 2},
        ),
        ({"coarse.components": None}, "coarse", {"threshold": "otsu", "components": None}),
        ({"coarse.threshold": "crf"}, "coarse", {**DEMO_COARSE, "threshold": "crf"}),
        ({"coarse.threshold": 0.3}, "coarse", {**DEMO_COARSE, "threshold": 0.3}),
        ({"coarse.min_confidence": 0.5}, "coarse", {**DEMO_COARSE, "min_confidence": 0.5}),
        ({"prompts.boxes": None}, "prompts", {"boxes": None, "points": 3}),
    ],
)
def test_a_new_method_leaves_the_old_ones_parameters_behind(settings, group, expected):
    assert load_preset("demo").with_settings(settings).parameters[group] == expected


def test_the_same_method_named_again_keeps_its_parameters():
    demo = load_preset("demo")
    assert demo.with_settings({"saliency.method": "m2ib"}).settings == demo.settings


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (make_saliency, {"method": "gradcam", "layer": 3}, "saliency.layer does not .*gradcam, which has no param"),
        (make_saliency, {"method": "gscorecam", "gamma": 1}, "saliency.gamma does not .* takes batch, channels"),
        (
            make_saliency,
            {"method": "gscorecam", "channels": 0},
            "saliency.channels must be a whole number from 1 to 100,000, got 0",
        ),
        (make_saliency, {}, "saliency.method must be one of m2ib, gscorecam, gradcam, got None"),
        (
            make_coarse,
            {"threshold": ["otsu"]},
            "coarse.threshold must be one of otsu, two_means, crf or a number from 0 to 1, got",
        ),
        (make_coarse, {"threshold": "otsu", "components": "largest", "keep_best": True}, "coarse.keep_best does not"),
        (make_coarse, {"threshold": "otsu", "k": 2}, "coarse.k needs coarse.components"),
        (make_coarse, {"threshold": "otsu", "bins": 1}, "coarse.bins must be a whole number from 2 to 65,536, got 1"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named_with_those_that_do(make, settings, message):
    with pytest.raises(InputError, match=message):
        make(settings)


def test_parameters_of_the_two_steps_of_a_coarse_mask_stand_side_by_side():
    coarse = make_coarse({"threshold": "otsu", "bins": 64, "components": "largest", "k": 2})
    assert (coarse.threshold, coarse.components) == (OtsuThreshold(64), KeepLargestComponents(2))
    assert make_coarse({"threshold": 0.3}).threshold == FixedThreshold(0.3)


def test_a_preset_extends_another_by_name_or_by_a_file_beside_it(tmp_path):
    first = write(tmp_path / "first.json", extends="demo", description="mine", saliency={"method": "gradcam"})
    second = write(tmp_path / "second.json", extends="first.json", tasks={"a": {"threshold": 0.2}})
    preset = load_preset(second)
    assert (preset.name, preset.description, preset.clip) == ("second", "mine", "demo/clip")
    assert make_saliency(preset.settings.saliency) == GradCAM()
    assert preset.settings.coarse == load_preset(first).settings.coarse == load_preset("demo").settings.coarse
    assert preset.for_task("a").settings.threshold == 0.2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"extends": "mine.json"}, "extends itself: mine.json -> mine.json"),
        ({"extends": "nowhere.json"}, "unknown preset"),
        ({"extends": 5}, "unknown preset"),
        ({"extends": "demo", "task": "a"}, "unknown key 'task'"),
        ({"extends": "demo", "saliency": "m2ib"}, "saliency in preset .* must be a JSON object, got a str"),
        ({"extends": "demo", "tasks": ["a"]}, "tasks in preset .* must be a JSON object, got a list"),
        ({"extends": "demo", "tasks": {"a": 1}}, "tasks.a in preset .* must be a JSON object, got a int"),
    ],
)
def test_a_file_that_is_no_preset_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        load_preset(write(tmp_path / "mine.json", **content))


@pytest.mark.parametrize("key", ["tasks", "task", "tasks.a", "description"])
def test_a_setting_cannot_change_what_is_no_parameter(key):
    with pytest.raises(InputError, match="unknown setting"):
        load_preset("biomedclip_sam_b").with_settings({key: {}})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"saliency.seed": 5, "prompts.seed": 5}),
        ({"saliency.method": "gradcam"}, {"prompts.seed": 5}),
    ],
)
def test_a_seed_goes_where_something_is_random(settings, expected):
    assert load_preset("demo").with_settings(settings).settings.seeds(5) == expected
