"""Fixtures for all tests: small networks, a preset of them, and the command line in this process."""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import asdict
from pathlib import Path

import monai  # noqa: F401  the whole, before a command run in this process imports less of it
import pytest
import torch
from safetensors.torch import save_file
from small_models import TIMM_VISION, TINY_SAM, write_clip_folder

from medclipsam_monai.cli import main as cli
from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.networks.sam.segmenter import load_segmenter
from medclipsam_monai.networks.sam.sizes import build_sam


@pytest.fixture
def marker(tmp_path):
    """A file that a hostile payload would make; see `hostile`."""
    path = tmp_path / "payload_was_here"
    yield path
    assert not path.exists()


@pytest.fixture
def offline(monkeypatch):
    """Every attempt to reach another machine from here on fails the test."""

    def refuse(*address):
        pytest.fail(f"the network was asked for {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory) -> Path:
    return write_clip_folder(tmp_path_factory.mktemp("clip"), {**TIMM_VISION, "image_size": 160})


@pytest.fixture(scope="session")
def sam_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sam")
    torch.manual_seed(5)
    (folder / "config.json").write_text(json.dumps(asdict(TINY_SAM)))
    save_file(build_sam(TINY_SAM).state_dict(), folder / "sam.safetensors")
    return folder


@pytest.fixture(scope="session")
def encoder(clip_folder):
    return load_text_image_encoder(clip_folder)


@pytest.fixture(scope="session")
def segmenter(sam_folder):
    return load_segmenter(sam_folder)


@pytest.fixture(scope="session")
def tiny_preset(tmp_path_factory, clip_folder, sam_folder) -> Path:
    """A preset file of random networks: quick, and what it finds means nothing."""
    path = tmp_path_factory.mktemp("preset") / "tiny.json"
    content = {
        "description": "random networks for tests",
        "clip": str(clip_folder),
        "sam": str(sam_folder),
        "saliency": {"method": "m2ib", "layer": 3, "steps": 2, "samples": 2},
        "coarse": {"threshold": "otsu"},
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def command(monkeypatch, capsys):
    """Run ``medclipsam`` with some words in this process: (exit code, standard output, standard error)."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["medclipsam", *map(str, words)])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def run(command, tiny_preset, tmp_path):
    """Run ``medclipsam segment`` with the small preset, on the CPU, into the test's own folder."""

    def call(*args: object, preset: object = tiny_preset) -> tuple[int, str, str]:
        words = ["segment", *map(str, args), "--preset", str(preset)]
        if "--device" not in words:
            words += ["--device", "cpu"]
        if "--output" not in words:
            words += ["--output", str(tmp_path / "out")]
        return command(*words)

    return call
