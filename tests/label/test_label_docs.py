"""Every command of docs/how-to/label.md, run as it stands there.

Words in capitals stand for folders of the reader's, and are those of the test; a port of the test's own takes the place
of 8000, and a GPU that is not there that of the CPU. What is long by intent is given the options that make it short.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from label_server import LabelServer, write_phantoms
from PIL import Image

from medclipsam_monai.phantoms.samples import sample_folder, sample_pictures
from medclipsam_monai.presets import DEFAULT_PRESET

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "label.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"
SHORT = {
    "medclipsam label client": "--labels 3 --train-option max_epochs=3 --train-option iterations=1 "
    "--train-option network_size=tiny",
    "tools.campaign.simulate": "--points 2,3 --seeds 1 --held-out 2 --steps 3",
}


def commands() -> list[str]:
    """The lines of all bash and console blocks, without remarks."""
    blocks = re.findall(r"^ *```(?:bash|console)\n(.*?)^ *```$", PAGE, re.DOTALL | re.MULTILINE)
    return [line.split("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def inline(start: str) -> list[str]:
    """Commands between backticks in the text."""
    text = re.sub(r"^ *```.*?^ *```$", "", PAGE, flags=re.DOTALL | re.MULTILINE)
    return [found for found in re.findall(r"`([^`\n]+)`", text) if found.startswith(start)]


SERVING = [line for line in commands() if line.startswith(("scripts/label.sh", "medclipsam label serve"))]
ASKING = [line for line in commands() if line.startswith("curl")]
OTHERS = [line for line in commands() if line not in [*SERVING, *ASKING, "scripts/test_label.sh"]]


def environment(**more: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"} | more


def run(command: str, folder: Path, answers: str = "") -> str:
    result = subprocess.run(
        ["bash", "-euc", command], cwd=folder, env=environment(), input=answers, capture_output=True, text=True
    )
    assert result.returncode == 0, f"{command}\n{result.stdout[-2000:]}{result.stderr[-2000:]}"
    return result.stdout


class DocumentedServer(LabelServer):
    """A server that a command of the page starts."""

    def __init__(self, line: str, app: Path, studies: Path) -> None:
        self.line = f"MONAI_LABEL_AUTO_UPDATE_SCORING=true exec {line}"  # as by default: all is scored at the start
        super().__init__(app, studies)

    def command(self) -> list[str]:
        line = self.line.replace("IMAGES", str(self.studies)).replace("scripts/", f"{ROOT}/scripts/")
        line = line if torch.cuda.is_available() else line.replace("device cuda", "device cpu")
        line += f" --app {self.app}" if "medclipsam label" in line else ""
        return ["bash", "-c", f'export PATH="{Path(sys.executable).parent}:$PATH"; {line} "$@"', "bash"]


def test_the_page_has_commands_of_every_kind():
    assert len(SERVING) == 4 and len(ASKING) >= 6 and len(OTHERS) == 3
    assert not [line for line in ASKING if "-F 'params" in line]  # curl would cut it at the first semicolon


@pytest.mark.minutes
@pytest.mark.parametrize("line", [line for line in SERVING if "dicom-web" not in line])
def test_a_command_that_serves_a_folder_does(line, tmp_path):
    write_phantoms(tmp_path / "images", 1)
    server = DocumentedServer(line, tmp_path / "app", tmp_path / "images")
    try:
        info = server.info()
        wanted = re.search(r'--conf text "([^"]*)"', line)
        text = wanted[1] if wanted else "lungs"
        assert info["models"]["text"]["config"]["text"] == text and info["labels"] == text.split("; ")
        assert info["datastore"]["total"] == 1 and server.addresses() == {"127.0.0.1"}
        presets = info["models"]["text"]["config"]["preset"]
        assert presets[0] == ("biomedclip_sam_b" if "biomedclip" in line else DEFAULT_PRESET)
        if "biomedclip" in line:
            assert "medclipsam weights download" in server.infer("text", "image_0").json()["detail"]
    finally:
        server.stop()


@pytest.mark.minutes
def test_the_command_that_serves_an_archive_says_so_where_there_is_none(tmp_path):
    (line,) = [line for line in SERVING if "dicom-web" in line]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = DocumentedServer(line.replace("8042", str(port)), tmp_path / "app", tmp_path)
    try:
        answer = requests.get(f"{server.url}/info/")
        assert answer.status_code == 502
        assert answer.json()["detail"].startswith("the DICOMweb archive does not answer")
    finally:
        server.stop()


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A server whose first image is called chest, and a folder to work in."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "images").mkdir()
    pictures = sorted((sample_folder() / "images").iterdir())[:2]
    shutil.copy(sample_pictures()["xray_normal"], folder / "images" / "chest.png")
    for path in pictures:
        shutil.copy(path, folder / "images")
    server = LabelServer(folder / "app", folder / "images", preset="demo")
    yield server, folder
    server.stop()


@pytest.mark.minutes
def test_the_requests_of_the_page_are_answered_one_after_the_other(asked):
    server, folder = asked
    for line in ASKING:
        shown = run(line.replace(ADDRESS, server.url).replace("curl ", "curl --silent --show-error ", 1), folder)
        assert '"detail"' not in shown, f"{line}\n{shown}"
    size = Image.open(folder / "images" / "chest.png").size
    both, heart = (Image.open(folder / name) for name in ("mask.png", "heart.png"))
    assert both.size == heart.size == size
    assert set(np.unique(both)) == {0, 1, 2} and set(np.unique(heart)) == {0, 2}
    kept = requests.get(f"{server.url}/datastore/", params={"output": "all"}).json()["objects"]["chest"]["labels"]
    assert [entry["name"] for entry in kept["final"]["info"]["label_info"]] == ["lungs", "heart"]
    assert requests.get(f"{server.url}/train/").json()["status"] == "STOPPED"
    assert json.loads(shown)["id"] in {path.stem for path in (folder / "images").glob("*.png")} - {"chest"}


@pytest.mark.minutes
def test_the_ensemble_is_downloaded_and_put_back_as_the_page_says(asked):
    server, folder = asked
    (line,) = [found for found in inline("curl") if "model/weak" in found]
    shutil.copy(ROOT / "bundles" / "medclipsam_weak_segmentation" / "models" / "model.pt", folder / "model.pt")
    assert "checksum" in run(line.replace(ADDRESS, server.url).replace("curl ", "curl --silent ", 1), folder)
    assert requests.get(f"{server.url}/model/weak").content == (folder / "model.pt").read_bytes()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A server of eight phantoms, and a folder with their masks, for one command of the client after the other."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "true_masks").mkdir()
    for image, mask in write_phantoms(folder / "images", 8).items():
        Image.fromarray(mask).save(folder / "true_masks" / f"{image}.png")
    server = LabelServer(folder / "app", folder / "images", preset="demo")
    yield server, folder
    server.stop()


@pytest.mark.minutes
@pytest.mark.parametrize("line", [line for line in OTHERS if "label client" in line])
def test_the_client_of_the_page_labels_trains_and_asks_for_the_next_image(trained, line):
    server, folder = trained
    before = server.info()["datastore"]["completed"]
    more = f"--server {server.url} --output found {SHORT['medclipsam label client']}"
    assert "round 1: 3 labelled" in run(f"{line} {more}", folder, answers="\n\n\n")
    labelled = {path.stem for path in (folder / "images" / "labels" / "final").glob("*.png")}
    assert len(labelled) == server.info()["datastore"]["completed"] == before + 3
    assert server.info()["models"]["weak"]["labels"] == ["lungs"]
    if "true_masks" in line:
        same = [name for name in labelled if _equal(folder, "true_masks", f"images/labels/final/{name}.png")]
        assert len(same) >= 3
    sample = requests.post(f"{server.url}/activelearning/most_uncertain", json={}).json()
    assert sample["id"] not in labelled and sample["scored_by"] == "ensemble_entropy" and sample["score"] > 0
    rows_and_columns = Image.open(folder / "images" / f"{sample['id']}.png").size[::-1]
    assert server.mask("weak", sample["id"]).shape == rows_and_columns


def _equal(folder: Path, masks: str, label: str) -> bool:
    pixels = (np.asarray(Image.open(path)) for path in (folder / masks / Path(label).name, folder / label))
    return np.array_equal(*pixels)


@pytest.mark.minutes
def test_the_campaign_of_the_page_runs(tmp_path):
    (line,) = [line for line in OTHERS if "tools.campaign" in line]
    masks = write_phantoms(tmp_path / "X-RAYS", 8)
    (tmp_path / "LUNG_MASKS").mkdir()
    for name, mask in masks.items():
        Image.fromarray(mask).save(tmp_path / "LUNG_MASKS" / f"{name}.png")
    run(f"{line} {SHORT['tools.campaign.simulate']}", tmp_path)
    assert list((tmp_path / "campaign").iterdir())
