"""The checks of MONAI's model zoo that run on a CPU without a network, as functions over a bundle's folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from monai.bundle import ConfigWorkflow, verify_metadata, verify_net_in_out

SCHEMA = Path(__file__).parent / "data" / "meta_schema_20240725.json"
BUNDLES = Path(__file__).parents[2] / "bundles"


def copy_bundle(name: str, target: Path) -> Path:
    """A bundle in a folder of its own, without what earlier runs left in it."""
    return shutil.copytree(BUNDLES / name, target / name, ignore=shutil.ignore_patterns("models", "eval"))


def check_files(bundle: Path) -> None:
    """What the zoo requires, and that JSON is indented by 4."""
    required = ["LICENSE", "configs/metadata.json", "configs/logging.conf", "docs/README.md"]
    assert [name for name in required if not (bundle / name).is_file()] == []
    for path in sorted((bundle / "configs").glob("*.json")):
        text = path.read_text()
        assert text == json.dumps(json.loads(text), indent=4, ensure_ascii=False) + "\n", path.name


def check_metadata(bundle: Path) -> None:
    """Against the published schema, and version in the changelog, and packages pinned to released versions."""
    schema = bundle / "eval" / "schema.json"
    schema.parent.mkdir(exist_ok=True)
    shutil.copy(SCHEMA, schema)  # verify_metadata takes a file that is there and downloads nothing
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(schema))
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]
    assert next(iter(metadata["network_data_format"]["inputs"])) == "image"
    assert next(iter(metadata["network_data_format"]["outputs"])) == "pred"


def workflow(bundle: Path, kind: str, *configs: str, **overrides: object) -> ConfigWorkflow:
    """A bundle's workflow, not yet initialised."""
    return ConfigWorkflow(
        workflow_type=kind,
        config_file=[str(bundle / "configs" / name) for name in configs],
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=str(bundle / "configs" / "logging.conf"),
        bundle_root=str(bundle),
        **overrides,
    )


def run_workflow(flow: ConfigWorkflow) -> None:
    """The zoo's check of a workflow: it initialises, has every property MONAI wants, runs and finishes."""
    flow.initialize()
    assert flow.check_properties() == []
    flow.run()
    flow.finalize()


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
