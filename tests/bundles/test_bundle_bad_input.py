"""What a user of ``python -m monai.bundle`` sees who gave something wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import zoo_checks
from hostile import Touch
from monai.apps.utils import extractall
from weak_files import change_plan

from medclipsam_monai.base.errors import InputError, plain_input_errors
from medclipsam_monai.deploy.bundle_folder import check_bundle
from medclipsam_monai.presets import DEFAULT_PRESET
from medclipsam_monai.version import __version__
from medclipsam_monai.weights.bundles import check_bundle_version

FINETUNE, WEAK, ZERO_SHOT = zoo_checks.NAMES
MODEL = Path("models", "model.pt")


def last_line(bundle: Path, config: str, *arguments: str, hidden: bool = False) -> tuple[int, str]:
    """Exit code and last line of ``python -m monai.bundle run``; hidden in a Python without this package."""
    start = ["-m", "monai.bundle"]
    if hidden:
        start = ["-c", HIDING]
    command = [sys.executable, *start, "run", "--config_file", f"configs/{config}.json", *arguments]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return done.returncode, done.stderr.strip().splitlines()[-1]


HIDING = """
import runpy, sys
sys.modules["medclipsam_monai"] = None
runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
"""


def said_in_this_process(bundle: Path, **overrides: object) -> str:
    """What `plain_input_errors` would print of the error that an inference ends with; MONAI wraps it or not."""
    flow = zoo_checks.workflow(bundle, "infer", "inference.json", **overrides)
    with pytest.raises((InputError, RuntimeError)) as error:
        flow.initialize()
        flow.run()
    return str(cause(error.value))


@pytest.mark.parametrize(
    ("name", "config", "arguments", "line"),
    [
        (ZERO_SHOT, "inference", ["--text", ""], "the text is empty; "),
        # what makes the line is the same in all bundles, and each is a process that imports MONAI
        pytest.param(
            *(WEAK, "inference", ["--ckpt_path", "gone.pt"], "gone.pt: there is no such model file"),
            marks=pytest.mark.minutes,
        ),
        pytest.param(
            *(FINETUNE, "train", ["--dataset_dir", "gone.csv"], "table of pairs not found: gone.csv"),
            marks=pytest.mark.minutes,
        ),
    ],
)
def test_the_last_line_says_what_was_wrong_and_the_exit_code_is_2(tmp_path, name, config, arguments, line):
    code, said = last_line(zoo_checks.copy_bundle(name, tmp_path), config, *arguments)
    assert code == 2
    assert said.startswith(f"medclipsam: {line}")


@pytest.mark.parametrize(
    ("name", "wrong", "line"),
    [
        (ZERO_SHOT, {"preset": "nothing"}, "unknown preset"),
        (ZERO_SHOT, {"task": "nothing"}, f"preset {DEFAULT_PRESET} has no task 'nothing'"),
        (ZERO_SHOT, {"ckpt_path": "gone.pt"}, "ckpt_path: there is no file gone.pt"),
        (ZERO_SHOT, {"sam_weights": "gone.pt"}, "weights not found: gone.pt"),
        (FINETUNE, {"dataset_dir": "gone.csv"}, "table of pairs not found: gone.csv"),
        (FINETUNE, {"clip_weights": "gone"}, "weights not found: gone"),
    ],
)
def test_what_was_wrong_is_one_line_whatever_it_is(tmp_path, monkeypatch, name, wrong, line):
    bundle = zoo_checks.copy_bundle(name, tmp_path)
    monkeypatch.chdir(bundle)
    assert said_in_this_process(bundle, **wrong).startswith(line)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        (name, path.stem)
        for name in zoo_checks.NAMES
        for path in (zoo_checks.BUNDLES / name / "configs").glob("*.json")
        if "initialize" in path.read_text()
    ],
)
def test_every_start_looks_for_the_package_first(name, config):
    content = json.loads((zoo_checks.BUNDLES / name / "configs" / f"{config}.json").read_text())
    assert content["initialize"][:3] == ["$@package", "$plain_input_errors()", "$check_bundle_version(@_meta_)"]


@pytest.mark.parametrize(
    ("name", "config"), [(ZERO_SHOT, "inference"), pytest.param(FINETUNE, "train", marks=pytest.mark.minutes)]
)
def test_a_bundle_without_the_package_says_what_to_install(name, config, tmp_path):
    code, line = last_line(zoo_checks.copy_bundle(name, tmp_path), config, hidden=True)
    assert code == 1
    assert line == "this bundle needs the package medclipsam-monai: pip install medclipsam-monai"


@pytest.mark.parametrize("name", zoo_checks.NAMES)
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04 and no more", "is not a whole"),
        (b"", "is not a whole"),
        ({"weight": Touch(Path("payload_was_here"))}, "is refused: opening it could run code"),
        ({"weight": 3}, ("holds no state dict", "is no exported ensemble")),
        ({"weight": torch.zeros(1)}, ("another architecture", "is no exported ensemble")),
    ],
    ids=["cut off", "empty", "code", "no tensors", "other tensors"],
)
def test_a_broken_model_file_is_one_line(name, content, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bundle = zoo_checks.copy_bundle(name, tmp_path)
    (bundle / MODEL).parent.mkdir()
    if isinstance(content, bytes):
        (bundle / MODEL).write_bytes(content)
    else:
        torch.save(content, bundle / MODEL)
    flow = zoo_checks.workflow(bundle, "infer", "inference.json", device="cpu")
    with pytest.raises(RuntimeError) as error:  # MONAI wraps what a component raises
        flow.initialize()
    line = str(cause(error.value))
    assert "model.pt" in line and "\n" not in line
    assert any(one in line for one in ([says] if isinstance(says, str) else says)), line
    assert not (tmp_path / "payload_was_here").exists()


def cause(error: BaseException | None) -> InputError:
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    assert error is not None
    return error


def of_version(bundle: Path, version: object) -> Path:
    path = bundle / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["required_packages_version"]["medclipsam-monai"] = version
    path.write_text(json.dumps(metadata))
    return bundle


@pytest.mark.parametrize("name", zoo_checks.NAMES)
def test_a_bundle_for_a_newer_package_is_refused(name, tmp_path):
    bundle = of_version(zoo_checks.copy_bundle(name, tmp_path), "0.2.0")
    assert said_in_this_process(bundle) == (
        "this bundle was made for medclipsam-monai 0.2.0, and 0.1.0 is installed: "
        "pip install --upgrade medclipsam-monai"
    )


@pytest.mark.parametrize(
    ("version", "warns"),
    [("0.1.0", False), ("0.1.7", True), ("0.1", True), ("0.0.9", True), ("0.1.0rc1", True), (None, False)],
)
def test_another_version_that_can_be_read_is_a_line_of_the_log(version, warns, caplog):
    check_bundle_version({"required_packages_version": {"medclipsam-monai": version}})
    said = [record.getMessage() for record in caplog.records]
    expected = f"this bundle was made for medclipsam-monai {version}, and {__version__} is installed"
    assert said == ([expected] if warns else [])


@pytest.mark.parametrize("version", ["1.0", "0.10.0", "new", "", 5, ["0.1.0"], "0.1.0; pip install x", "9" * 50 + ".0"])
def test_a_version_that_cannot_be_is_refused(version):
    with pytest.raises(InputError):
        check_bundle_version({"required_packages_version": {"medclipsam-monai": version}})


@pytest.mark.parametrize("metadata", [{}, {"required_packages_version": {}}, {"required_packages_version": None}])
def test_a_bundle_that_names_no_version_is_not_compared(metadata):
    check_bundle_version(metadata)


@pytest.mark.parametrize("name", ["../evil.txt", "bundle/../../evil.txt", "{elsewhere}/evil.txt"])
def test_a_packed_bundle_that_leaves_its_folder_writes_nothing_outside(name, tmp_path):
    """This package unpacks no bundle; MONAI's `download` does, and refuses such a one."""
    packed = tmp_path / "server" / "bundle.zip"
    packed.parent.mkdir()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("bundle/configs/metadata.json", "{}")
        archive.writestr(name.format(elsewhere=tmp_path), "evil")
    target = tmp_path / "deep" / "models"
    target.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"[Uu]nsafe"):
        extractall(packed, target)
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_packed_bundle_is_no_folder_of_one(tmp_path):
    (tmp_path / "bundle.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"bundle\.zip is no bundle: it has no configs/inference\.json"):
        check_bundle(tmp_path / "bundle.zip")


def test_a_bundles_model_file_that_names_code_runs_none(tmp_path):
    bundle = zoo_checks.copy_bundle(WEAK, tmp_path, models=True)

    def attacked(head):
        kwargs = head["plans"]["configurations"]["2d"]["architecture"]["arch_kwargs"]
        kwargs["nonlin"] = "torch.nn.functional.torch.os.system"  # nnU-Net walks attributes: this is os.system
        kwargs["nonlin_kwargs"] = {"command": f"touch {tmp_path}/payload_was_here"}
        return head

    change_plan(bundle / "models" / "model.pt", attacked)
    code, line = last_line(bundle, "inference")
    assert not (tmp_path / "payload_was_here").exists()
    assert code == 2 and line.startswith("medclipsam: nonlin in arch_kwargs in the plans must be")


def test_another_program_keeps_its_own_handling_of_errors():
    before = sys.excepthook
    plain_input_errors()
    assert sys.excepthook is before
