"""The model zoo's own checks of all three bundles, and what stands in them about the package and its weights."""

from __future__ import annotations

import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import yaml
import zoo_checks
from monai.apps.utils import HashCheckError
from monai.bundle import ConfigParser, download_large_files

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import file_sha256
from medclipsam_monai.version import __version__
from medclipsam_monai.weights.entries import known_weights
from medclipsam_monai.weights.registry import resolve

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mode", ["regular", "min"])
@pytest.mark.parametrize("name", zoo_checks.NAMES)
def test_the_zoo_takes_the_bundle(name, mode, tmp_path):
    zoo_checks.verify(zoo_checks.copy_bundle(name, tmp_path, models=name not in zoo_checks.NO_MODEL_FILE), mode)


@pytest.mark.parametrize("name", zoo_checks.NAMES)
def test_the_zoo_takes_the_bundle_in_full(name, tmp_path):
    bundle = zoo_checks.copy_bundle(name, tmp_path, models=name not in zoo_checks.NO_MODEL_FILE)
    model = bundle / "models" / "model.pt"
    if name in zoo_checks.NO_MODEL_FILE:
        parser = ConfigParser()
        parser.read_config(bundle / "configs" / "inference.json")
        parser["bundle_root"] = str(bundle)
        model.parent.mkdir()
        torch.save(parser.get_parsed_content("network_def").state_dict(), model)
    zoo_checks.verify(bundle, "full")


def test_the_lists_of_exceptions_name_bundles_that_need_them():
    in_git = {name for name in zoo_checks.NAMES if name not in zoo_checks.NO_MODEL_FILE}
    assert in_git == {"medclipsam_weak_segmentation"}
    assert set(zoo_checks.NO_TORCHSCRIPT) <= set(zoo_checks.NAMES)


@pytest.mark.parametrize("name", zoo_checks.NAMES)
def test_the_packages_are_those_of_the_lock(name):
    """The zoo installs what metadata.json names, exactly."""
    locked = dict(
        re.findall(r"^([\w.-]+)==([\w.]+)(?= *$| *; python_full_version (?:>= '3.11'|== '3.11))", _lock(), re.M)
    )
    metadata = zoo_checks.read_metadata(zoo_checks.BUNDLES / name)
    named = {key.replace("_", "-").lower(): value for key, value in metadata["required_packages_version"].items()}
    assert named.pop("medclipsam-monai") == __version__
    named |= {"monai": metadata["monai_version"], "torch": metadata["pytorch_version"]}
    named["numpy"] = metadata["numpy_version"]
    assert named == {key: locked.get(key) for key in named}
    # MONAI puts this key in the place of required_packages_version, and what stood there is lost
    assert "optional_packages_version" not in metadata


@pytest.mark.parametrize("name", zoo_checks.NAMES)
def test_every_input_and_output_of_the_metadata_is_described(name):
    """MONAI Deploy's operator asks each for its type, and stops at one that is a sentence."""
    formats = zoo_checks.read_metadata(zoo_checks.BUNDLES / name)["network_data_format"]
    assert [list(formats[side]) for side in ("inputs", "outputs")] == [["image"], ["pred"]]
    assert all(isinstance(one, dict) for side in formats.values() for one in side.values())


def _lock() -> str:
    return (ROOT / "requirements" / "core.txt").read_text()


@pytest.mark.parametrize("name", zoo_checks.NAMES)
def test_the_page_says_what_to_install(name):
    assert "`pip install medclipsam-monai`" in (zoo_checks.BUNDLES / name / "docs" / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("medclipsam_zeroshot_segmentation", ["biomedclip", "sam_vit_b"]),
        ("medclipsam_finetune", ["biomedclip"]),
        ("medclipsam_weak_segmentation", []),
    ],
)
def test_large_files_are_the_published_weights(name, weights):
    entries = zoo_checks.check_large_files(zoo_checks.BUNDLES / name)
    published = [known_weights()[one] for one in weights]
    assert [(e["path"], e["url"], e["hash_val"]) for e in entries] == [
        (f"models/{one.file}", one.url, one.sha256) for one in published
    ]


@pytest.fixture
def server(tmp_path):
    """A folder served over HTTP: (folder, address)."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    running.server_close()


def serve_in_place(bundle: Path, contents: dict[str, Path], server) -> None:
    """Let the bundle's large_files.yml fetch other files from a server of ours, by their hashes."""
    folder, address = server
    listing = yaml.safe_load((bundle / "large_files.yml").read_text())
    for entry in listing["large_files"]:
        source = contents[entry["path"]]
        (folder / source.name).write_bytes(source.read_bytes())
        entry |= {"url": f"{address}/{source.name}", "hash_val": file_sha256(source)}
    (bundle / "large_files.yml").write_text(yaml.safe_dump(listing))


def test_large_files_arrive_whole_in_their_places_and_one_option_runs_them(
    tmp_path, server, clip_folder, sam_folder, monkeypatch
):
    bundle = zoo_checks.copy_bundle("medclipsam_zeroshot_segmentation", tmp_path)
    contents = {
        "models/open_clip_pytorch_model.bin": clip_folder / "open_clip_model.safetensors",
        "models/sam_vit_b_01ec64.pth": sam_folder / "sam.safetensors",
    }
    serve_in_place(bundle, contents, server)
    download_large_files(bundle_path=str(bundle))
    for place, source in contents.items():
        assert (bundle / place).read_bytes() == source.read_bytes()
    parser = ConfigParser()
    parser.read_config([str(bundle / "configs" / name) for name in ("inference.json", "biomedclip.json")])
    parser["bundle_root"] = str(bundle)
    assert [parser.get_parsed_content(key) for key in ("clip_weights", "sam_weights", "preset", "checkpoint")] == [
        *(str(bundle / place) for place in contents),
        "biomedclip_sam_b",
        None,
    ]
    finetune = zoo_checks.copy_bundle("medclipsam_finetune", tmp_path)
    serve_in_place(finetune, contents, server)
    monkeypatch.chdir(finetune)  # as the page has it
    download_large_files()
    parser = ConfigParser()
    parser.read_config([str(finetune / "configs" / name) for name in ("train.json", "biomedclip.json")])
    parser["bundle_root"] = str(finetune)
    assert parser["network_def#source"] == "$@clip_weights or @initial_weights"
    assert parser.get_parsed_content("initial_weights") == str(finetune / "models" / "open_clip_pytorch_model.bin")


def test_a_large_file_of_other_bytes_is_refused(tmp_path, server, sam_folder, clip_folder):
    bundle = zoo_checks.copy_bundle("medclipsam_finetune", tmp_path)
    serve_in_place(bundle, {"models/open_clip_pytorch_model.bin": clip_folder / "vocab.txt"}, server)
    (server[0] / "vocab.txt").write_text("other bytes")
    with pytest.raises(HashCheckError, match="sha256 hash check of downloaded file failed"):
        download_large_files(bundle_path=str(bundle))


def test_without_the_files_the_overlay_asks_for_the_weights_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDCLIPSAM_HOME", str(tmp_path / "none"))
    bundle = zoo_checks.copy_bundle("medclipsam_zeroshot_segmentation", tmp_path)
    flow = zoo_checks.workflow(bundle, "infer", "inference.json", "biomedclip.json", device="cpu")
    with pytest.raises(RuntimeError) as error:
        flow.initialize()
    cause = error.value
    while cause and not isinstance(cause, InputError):
        cause = cause.__cause__
    assert "medclipsam weights download biomedclip" in str(cause)
    with pytest.raises(InputError):
        resolve("biomedclip")


@pytest.mark.slow
@pytest.mark.minutes
def test_downloaded_biomedclip_and_sam_segment(tmp_path, server):
    """Random weights of the real sizes in the official file forms."""
    from medclipsam_monai.networks.sam.sizes import SAM_SIZES, build_sam
    from medclipsam_monai.weights.clip_config import BIOMEDCLIP_FOLDER
    from medclipsam_monai.weights.clip_folder import build_clip

    bundle = zoo_checks.copy_bundle("medclipsam_zeroshot_segmentation", tmp_path)
    torch.manual_seed(0)
    clip, sam = tmp_path / "clip.bin", tmp_path / "sam.pth"
    torch.save(build_clip(BIOMEDCLIP_FOLDER).state_dict(), clip)
    torch.save(build_sam(SAM_SIZES["vit_b"]).state_dict(), sam)
    serve_in_place(bundle, {"models/open_clip_pytorch_model.bin": clip, "models/sam_vit_b_01ec64.pth": sam}, server)
    download_large_files(bundle_path=str(bundle))
    few = {"settings": {"saliency.steps": 1, "saliency.samples": 1}, "device": "cpu"}
    flow = zoo_checks.workflow(bundle, "infer", "inference.json", "biomedclip.json", **few)
    zoo_checks.run_workflow(flow)
    assert (bundle / "eval" / "xray_00_mask.png").is_file()
    state = flow.network_def.state_dict()
    for name, value in torch.load(sam, weights_only=True).items():
        assert torch.equal(state[next(key for key in state if key.endswith("." + name))], value), name
