"""Types and ranges of every setting, by whatever way it comes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import pytest

from medclipsam_monai.base.checked_fields import check_options, check_value, number, shown
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.presets import Preset, load_preset, parameters
from medclipsam_monai.presets.parameters import Parameters
from medclipsam_monai.presets.settings import Settings
from medclipsam_monai.zero_shot.build import build_network
from medclipsam_monai.zero_shot.inferer import TextPromptedInferer

NAN, INF, BIG = float("nan"), float("inf"), 10**400
NO_NUMBERS = ["1", "abc", None, [1], {}, True, NAN, INF, -INF, BIG]
NO_WHOLE_NUMBERS = [*NO_NUMBERS, 2.5, 9.0]
NO_FLAGS = ["no", "true", 0, 1, None, NAN, []]
SEED = 2**63 - 1

# What makes the setting one of the preset, its name, what it must be, values that are right, and values that are not.
TABLE = [
    ({}, "saliency.layer", "a whole number from 0", [0, 11], [*NO_WHOLE_NUMBERS, -1]),
    ({}, "saliency.gamma", "a number from 0 to 1,000,000", [0, 2, 0.1, 1e6], [*NO_NUMBERS, -0.1, 1e6 + 1]),
    ({}, "saliency.steps", "a whole number from 1 to 10,000", [1, 10_000], [*NO_WHOLE_NUMBERS, 0, 10_001]),
    ({}, "saliency.samples", "a whole number from 1 to 100", [1, 100], [*NO_WHOLE_NUMBERS, 0, 101, 10**9]),
    ({}, "saliency.learning_rate", "a number above 0 to 1,000", [1e-9, 1, 1000], [*NO_NUMBERS, 0, -1, 1001]),
    ({}, "saliency.seed", f"a whole number from 0 to {SEED:,}", [0, SEED], [*NO_WHOLE_NUMBERS, -1, SEED + 1]),
    ({}, "saliency.standardise", "true or false", [True, False], NO_FLAGS),
    ({}, "saliency.share_alpha", "true or false", [True, False], NO_FLAGS),
    ({}, "saliency.chunk", "a whole number from 1 to 64", [1, 64], [*NO_WHOLE_NUMBERS, 0, 65]),
    (
        {"saliency.method": "gscorecam"},
        "saliency.channels",
        "a whole number from 1 to 100,000",
        [1, 100_000],
        [*NO_WHOLE_NUMBERS, 0, 100_001],
    ),
    (
        {"saliency.method": "gscorecam"},
        "saliency.batch",
        "a whole number from 1 to 256",
        [1, 256],
        [*NO_WHOLE_NUMBERS, 0, 257],
    ),
    ({}, "coarse.bins", "a whole number from 2 to 65,536", [2, 65_536], [*NO_WHOLE_NUMBERS, 1, 65_537]),
    (
        {},
        "coarse.threshold",
        "one of otsu, two_means, crf or a number from 0 to 1",
        ["otsu", "two_means", "crf", 0, 0.3, 1],
        ["0.3", "Otsu", None, [], True, NAN, INF, BIG, -0.1, 1.1],
    ),
    ({}, "coarse.min_confidence", "a number from 0 to 1", [0, 0.5, 1], [*NO_NUMBERS[:5], NAN, -0.1, 1.1]),
    ({}, "coarse.keep_best", "true or false", [True, False], NO_FLAGS),
    ({}, "coarse.connectivity", "a whole number from 1 to 2", [1, 2], [*NO_NUMBERS[:6], 1.0, 0, 3]),
    (
        {"coarse.components": "largest"},
        "coarse.k",
        "a whole number from 0 or a list of them",
        [0, 7, [1, 2]],
        ["2", None, {}, True, NAN, INF, 2.5, -1, [], [1, -1], [1, 2.5], [True], ["1"], [[1]]],
    ),
    (
        {"coarse.components": "largest"},
        "coarse.connectivity",
        "a whole number from 1 to 2",
        [1, 2],
        [*NO_NUMBERS[:6], 1.0, 0, 3],
    ),
    *(
        ({"coarse.threshold": "crf"}, f"coarse.{name}", "a number above 0 to 10,000", [1e-3, 10_000], [*NO_NUMBERS, 0])
        for name in ("gaussian_sxy", "gaussian_compat", "bilateral_sxy", "bilateral_srgb", "bilateral_compat", "tau")
    ),
    (
        {"coarse.threshold": "crf"},
        "coarse.iterations",
        "a whole number from 1 to 1,000",
        [1, 1000],
        [*NO_WHOLE_NUMBERS, 0, 1001],
    ),
    (
        {},
        "prompts.boxes",
        "one of single, components or None",
        ["single", "components", None],
        ["each", 1, True, ["single"], NAN],
    ),
    ({}, "prompts.points", "a whole number from 0 to 1,000", [0, 1000], [*NO_WHOLE_NUMBERS, -1, 1001, 10**9]),
    ({}, "prompts.point_sets", "one of single, components or None", ["single", None], ["each", 1, True, []]),
    ({}, "prompts.box_margin", "a number from 0 to 100", [0, 0.1, 100], [*NO_NUMBERS, -0.1, 101]),
    ({}, "prompts.point_margin", "a number from 0 to 100,000", [0, 2.5, 100_000], [*NO_NUMBERS, -1, 100_001]),
    ({}, "prompts.seed", f"a whole number from 0 to {SEED:,}", [0, SEED], [*NO_WHOLE_NUMBERS, -1, SEED + 1]),
    ({}, "fit", "one of squash, letterbox", ["squash", "letterbox"], ["crop", None, 1, True, []]),
    ({}, "volumes", "one of whole, slices, propagated", ["whole", "slices", "propagated"], ["both", None, 1, []]),
    ({}, "slab", "a number from 0 to 100", [0, 7.5, 100], [*NO_NUMBERS, -0.1, 101]),
    ({}, "keep_covered", "a number from 0 to 1 or None", [0, 0.75, 1, None], ["0.5", NAN, True, [], -0.1, 1.1]),
    ({}, "prompt_ensemble", "one of embeddings, maps", ["embeddings", "maps"], ["votes", None, 1, []]),
    (
        {},
        "fusion",
        "one of best, mean, score, staple or None",
        ["best", "mean", "score", "staple", None],
        ["median", 1, True, []],
    ),
    ({}, "threshold", "a number from 0 to 1", [0, 0.5, 1], [*NO_NUMBERS, -0.1, 1.1]),
    ({}, "presence_threshold", "a number from 0 to 1", [0, 0.5, 1], [*NO_NUMBERS, -0.1, 1.1]),
    (
        {},
        "presence_scale",
        "a number above 0 to 1,000,000 or None",
        [1e-3, 100, None],
        ["1", [1], {}, True, NAN, INF, BIG, 0, -1],
    ),
    ({}, "examples.layer", "a whole number from 0 or None", [0, 3, None], ["1", 1.5, True, [], -1]),
    ({}, "examples.foreground", "a whole number from 1 to 1,000", [1, 1000], [*NO_WHOLE_NUMBERS, 0, 1001]),
    ({}, "examples.background", "a whole number from 1 to 1,000", [1, 1000], [*NO_WHOLE_NUMBERS, 0, 1001]),
    ({}, "examples.temperature", "a number above 0 to 100", [1e-3, 100], [*NO_NUMBERS, 0, 101]),
    ({}, "examples.text_weight", "a number from 0 to 1,000", [0, 5.5, 1000], [*NO_NUMBERS, -0.1, 1001]),
    ({}, "clip", "words", ["demo/clip"], [None, 1, True, []]),
    ({}, "sam", "words", ["demo/sam"], [None, 1, True, []]),
]
BAD = [(base, name, expected, value) for base, name, expected, _, values in TABLE for value in values]
GOOD = [(base, name, value) for base, name, _, values, _ in TABLE for value in values]


def test_the_table_holds_every_parameter():
    groups = {kind for kind in vars(parameters).values() if isinstance(kind, type) and issubclass(kind, Parameters)}
    groups.remove(parameters.PresenceParameters)  # of the weights, in a preset of its own
    declared = {one.name for kind in groups for one in fields(kind)}
    declared |= {one.name for one in fields(Settings)} - {"saliency", "coarse", "prompts", "examples"}
    listed = {name.split(".")[-1] for _, name, *_ in TABLE}
    assert len(groups) == 11 and declared - {"value"} == listed - {
        "clip",
        "sam",
    }  # FixedThreshold's is coarse.threshold


@pytest.mark.parametrize(("base", "name", "value"), GOOD)
def test_right_values_up_to_the_bounds_are_kept(base, name, value):
    preset = load_preset("demo").with_settings(base).with_settings({name: value})
    group, _, key = name.partition(".")
    found = getattr(preset if group in ("clip", "sam") else preset.settings, group)
    assert (found[key] if key else found) == value


@pytest.mark.parametrize(("base", "name", "expected", "value"), BAD)
def test_wrong_values_are_named_as_the_user_wrote_them(base, name, expected, value):
    demo = load_preset("demo").with_settings(base)
    with pytest.raises(InputError) as raised:
        demo.with_settings({name: value})
    assert str(raised.value) == f"{name} must be {expected}, got {shown(value)}"


@pytest.mark.parametrize(("base", "name", "expected", "value"), [row for row in BAD if row[3] in (2.5, 0, "no", "abc")])
def test_a_preset_file_and_its_tasks_are_checked_when_read(tmp_path, base, name, expected, value):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"extends": "demo", "tasks": {"chest": {**base, name: value}}}))
    with pytest.raises(InputError) as raised:
        load_preset(path)
    assert str(raised.value) == f"preset {path}: tasks.chest: {name} must be {expected}, got {shown(value)}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '"saliency": {"method": "m2ib", "gamma": NaN}',
            "saliency.gamma must be a number from 0 to 1,000,000, got nan",
        ),
        ('"prompts": {"points": 1e400}', "prompts.points must be a whole number from 0 to 1,000, got inf"),
        ('"prompts": {"boxes": null}', "visual prompts need boxes or points, got boxes=None and points=0"),
        ('"prompts": {"dots": 3}', "prompts.dots is no parameter of the prompts, which take boxes, points, point_sets"),
        ('"threshold": "0.5"', "threshold must be a number from 0 to 1, got '0.5'"),
        ('"clip": ""', "clip must name weights, got ''"),
        ('"description": 5', "description must be words, got 5"),
    ],
)
def test_a_preset_file_with_a_wrong_value_is_named(tmp_path, text, message):
    path = tmp_path / "mine.json"
    path.write_text('{"extends": "demo", ' + text + "}")
    with pytest.raises(InputError) as raised:
        load_preset(path)
    assert str(raised.value).startswith(f"preset {path}: {message}")


def test_a_preset_file_that_is_nested_too_deeply_is_one_line(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text('{"extends": "demo", "prompts": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(InputError, match="nested too deeply"):
        load_preset(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": {"saliency.layer": 9.5}}, "saliency.layer must be a whole number from 0, got 9.5"),
        ({"settings": ["saliency.layer"]}, r"settings must be an object of names and values, got \['saliency.layer'\]"),
        ({"settings": {7: 1}}, "unknown setting 7"),
        ({"preset": 7}, "unknown preset '7'"),
        ({"amp": "no"}, "amp must be true or false or None, got 'no'"),
        ({"clip": ""}, "clip must name weights, got ''"),
        ({"sam": " "}, "sam must name weights, got ' '"),
    ],
)
def test_a_bundles_configuration_is_checked_before_weights_are_read(options, message):
    with pytest.raises(InputError, match=message):
        build_network(**{"device": "cpu", **options})


@pytest.mark.parametrize("value", [0, 257, 2.0, True, "4", None])
def test_a_batch_of_slices_is_a_whole_number(value):
    with pytest.raises(InputError) as raised:
        TextPromptedInferer("lungs", slice_batch=value)
    assert str(raised.value) == f"slice_batch must be a whole number from 1 to 256, got {value!r}"


def test_numpy_numbers_are_numbers_and_numpy_flags_are_none():
    check_options(Settings, {"threshold": np.float32(0.5)})
    check_value("k", np.int64(3), int)
    for value in (np.bool_(True), np.float64(3.0), np.array(3)):
        with pytest.raises(InputError, match="k must be a whole number, got"):
            check_value("k", value, int)


@pytest.mark.parametrize(
    ("hint", "good", "bad", "words"),
    [
        (int | None, [3, None], [3.0, "3"], "a whole number or None"),
        (None | float, [3, 3.5, None], ["x"], "a number or None"),
        (Literal["a", "b"] | bool, ["a", True], ["c", 1], "one of a, b or true or false"),
        (Sequence[float], [[1, 2.5], (1,)], [1, [], "12", [NAN]], "a list of numbers"),
        (str, ["", "x"], [b"x", 1], "words"),
    ],
)
def test_types_are_checked_and_said_in_words(hint, good, bad, words):
    for value in good:
        check_value("it", value, hint)
    for value in bad:
        with pytest.raises(InputError) as raised:
            check_value("it", value, hint)
        assert str(raised.value) == f"it must be {words}, got {shown(value)}"


def test_a_dataclass_declares_type_and_range():
    @dataclass(frozen=True)
    class Knife:
        length: float = number(1.0, above=0)

    with pytest.raises(InputError, match=r"^knife\.length must be a number above 0, got 0$"):
        check_options(Knife, {"length": 0, "colour": "not its business"}, "knife.")


def test_a_huge_or_deep_value_is_shown_short_and_on_one_line():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for value in ("x\ny" * 10**6, list(range(10**5)), deep, {"a": "b" * 10**6}):
        assert len(shown(value)) < 200 and "\n" not in shown(value)


def test_presets_are_checked_without_loading_any_model_code():
    code = (
        "import sys; from medclipsam_monai.presets import load_preset\n"
        "try: load_preset('demo').with_settings({'saliency.layer': 9.5})\n"
        "except ValueError as error: print(error, [m for m in ('torch', 'monai', 'numpy') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "saliency.layer must be a whole number from 0, got 9.5 []\n"


def test_a_preset_made_in_python_is_checked():
    with pytest.raises(InputError, match=r"^saliency.layer must be a whole number from 0, got '3'$"):
        Settings(saliency={"method": "m2ib", "layer": "3"})
    with pytest.raises(InputError, match=r"^encoder must be one of clip, transformers, got 'blip'$"):
        Preset(name="x", description="", clip="a", sam="b", encoder="blip")
    with pytest.raises(InputError, match=r"^saliency must be an object of names and values, got 'm2ib'$"):
        Settings(saliency="m2ib")
