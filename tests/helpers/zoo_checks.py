"""The checks of MONAI's model zoo for a pull request, as functions over a bundle's folder, without a network.

The zoo verifies a bundle as "regular" (each night), "min" (a pull request, on a CPU) or "full" (on a GPU). What it
leaves out for a bundle stands in lists of its own, which a pull request changes; `NO_MODEL_FILE` and `NO_TORCHSCRIPT`
are our entries, with their reasons.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from monai.bundle import ConfigWorkflow, ckpt_export, create_workflow, verify_metadata, verify_net_in_out

SCHEMA = Path(__file__).parent / "data" / "meta_schema_20240725.json"
BUNDLES = Path(__file__).parents[2] / "bundles"
NAMES = ("medclipsam_finetune", "medclipsam_weak_segmentation", "medclipsam_zeroshot_segmentation")
LARGEST_FILE = 25 * 10**6  # what is larger has to be in large_files.yml
RELEASED: tuple[str, ...] = ()  # versions that are in the zoo, as NAME_vVERSION
NO_MODEL_FILE = {
    "medclipsam_zeroshot_segmentation": "its weights ship in the package; `run export` writes models/model.pt of them",
    "medclipsam_finetune": "models/model.pt is what its user trains",
}
NO_TORCHSCRIPT = {
    "medclipsam_zeroshot_segmentation": "a text decides what is computed, and what was found decides the prompts",
    "medclipsam_weak_segmentation": "nnU-Net's encoder, preprocessing and sliding window do not compile",
    "medclipsam_finetune": "the text tower, transformers' BERT, does not compile",
}


def copy_bundle(name: str, target: Path, models: bool = False) -> Path:
    """A bundle in a folder of its own, without what earlier runs left in it; with its model files if asked for."""
    left_out = ("eval",) if models else ("eval", "models")
    return shutil.copytree(BUNDLES / name, target / name, ignore=shutil.ignore_patterns(*left_out))


def verify(bundle: Path, mode: str) -> None:
    """All that the zoo asks of a bundle.

    Args:
        bundle: its folder, with the model files that are in git.
        mode: "regular", "min" or "full".
    """
    check_files(bundle)
    check_large_files(bundle)
    if mode != "regular":
        check_version(bundle)
    check_metadata(bundle)
    if mode == "full":
        check_supported_apps(bundle)
        check_network(bundle)
        check_torchscript(bundle)


def read_metadata(bundle: Path) -> dict[str, Any]:
    return json.loads((bundle / "configs" / "metadata.json").read_text())


def check_files(bundle: Path) -> None:
    """What the zoo requires or prefers, that no file is too large, and that JSON is indented by 4."""
    required = ["LICENSE", "configs/metadata.json", "configs/logging.conf", "docs/README.md", "docs/data_license.txt"]
    assert [name for name in required if not (bundle / name).is_file()] == []
    if bundle.name not in NO_MODEL_FILE:
        assert (bundle / "models" / "model.pt").is_file()
    assert (bundle / "configs" / "inference.json").is_file()
    made_by_users = bundle / "models" if bundle.name in NO_MODEL_FILE else None
    files = [path for path in bundle.rglob("*") if path.is_file() and path.parent != made_by_users]
    assert [path for path in files if path.stat().st_size > LARGEST_FILE] == []
    for path in sorted((bundle / "configs").glob("*.json")):
        text = path.read_text()
        assert text == json.dumps(json.loads(text), indent=4, ensure_ascii=False) + "\n", path.name
        assert not re.search(r"/(?:home|Users|root|workspace)/", text), path.name
    page = (bundle / "docs" / "README.md").read_text()
    assert re.search(r"^#+ License$", page, re.MULTILINE)
    assert "ckpt_export" in page or bundle.name not in NO_TORCHSCRIPT


def check_large_files(bundle: Path) -> list[dict[str, str]]:
    """Entries of large_files.yml: inside the bundle, over https, with the hash of the whole file."""
    listing = bundle / "large_files.yml"
    if not listing.is_file():
        return []
    content = yaml.safe_load(listing.read_text())
    assert set(content) == {"large_files"}
    for entry in content["large_files"]:
        assert set(entry) == {"path", "url", "hash_val", "hash_type"}
        assert re.fullmatch(r"models/[\w.-]+", entry["path"]) and entry["url"].startswith("https://")
        assert entry["hash_type"] == "sha256" and re.fullmatch(r"[0-9a-f]{64}", entry["hash_val"])
    return content["large_files"]


def check_version(bundle: Path) -> None:
    """The version is in the changelog, and in the zoo there is none of this number."""
    metadata = read_metadata(bundle)
    assert metadata["version"] in metadata["changelog"]
    assert f"{bundle.name}_v{metadata['version']}" not in RELEASED


def check_metadata(bundle: Path) -> None:
    """Against the published schema; the first of inputs and outputs is what applications take for image and mask."""
    schema = bundle / "eval" / "schema.json"
    schema.parent.mkdir(exist_ok=True)
    shutil.copy(SCHEMA, schema)  # verify_metadata takes a file that is there and downloads nothing
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(schema))
    formats = read_metadata(bundle)["network_data_format"]
    assert next(iter(formats["inputs"])) == "image"
    assert next(iter(formats["outputs"])) == "pred"


def check_supported_apps(bundle: Path) -> None:
    """The zoo asks the properties of each application that is named; we name none, and ask those of MONAI."""
    assert read_metadata(bundle)["supported_apps"] == {}
    flow = create_workflow(
        workflow_type="inference",
        bundle_root=str(bundle),
        config_file=str(bundle / "configs" / "inference.json"),
        logging_file=str(bundle / "configs" / "logging.conf"),
        meta_file=str(bundle / "configs" / "metadata.json"),
    )
    assert flow.check_properties() == []


def check_network(bundle: Path, config: str = "inference.json", **overrides: object) -> None:
    """The network takes and gives what the metadata say."""
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / config),
        device=torch.device("cpu"),
        bundle_root=str(bundle),
        **overrides,
    )


def check_torchscript(bundle: Path) -> None:
    """The checkpoint becomes TorchScript; a bundle of the list really does not."""

    def export() -> None:
        ckpt_export(
            net_id="network_def",
            filepath=str(bundle / "models" / "verify_model.ts"),
            ckpt_file=str(bundle / "models" / "model.pt"),
            meta_file=str(bundle / "configs" / "metadata.json"),
            config_file=str(bundle / "configs" / "inference.json"),
            bundle_root=str(bundle),
        )

    assert (bundle / "models" / "model.pt").is_file()
    if bundle.name not in NO_TORCHSCRIPT:
        export()
        return
    with pytest.raises(Exception):  # noqa: B017  torch's compiler raises of several kinds
        export()
    assert not (bundle / "models" / "verify_model.ts").exists()


def workflow(bundle: Path, kind: str, *configs: str, **overrides: object) -> ConfigWorkflow:
    """A bundle's workflow, not yet initialised."""
    return ConfigWorkflow(
        workflow_type=kind,
        config_file=[str(bundle / "configs" / name) for name in configs],
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=str(bundle / "configs" / "logging.conf"),
        **{"bundle_root": str(bundle), **overrides},
    )


def run_workflow(flow: ConfigWorkflow) -> None:
    """The zoo's check of a workflow: it initialises, has every property MONAI wants, runs and finishes."""
    flow.initialize()
    assert flow.check_properties() == []
    flow.run()
    flow.finalize()
