"""An image that is opened once: what does not change is not computed again, and what is kept has a bound."""

from __future__ import annotations

import gc
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.saliency.m2ib import M2IB
from medclipsam_monai.saliency.method import SaliencyMethod
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter
from medclipsam_monai.zero_shot.one_image import reading as module

SETTINGS = {"saliency.steps": 2, "saliency.samples": 1}


@pytest.fixture
def segmenter(tiny_preset):
    return TextSegmenter.from_preset(tiny_preset, device="cpu", settings=SETTINGS)


@pytest.fixture
def calls(segmenter, monkeypatch) -> Counter:
    """How often an image was read, and how many pictures or pairs went through each part of the networks."""
    counted: Counter = Counter()

    def count(owner, name, what, size=lambda *args: 1):
        original = getattr(owner, name)

        def counting(*args, **kwargs):
            counted[what] += size(*args)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    count(module, "read_image", "read")
    count(segmenter.network.segmenter.sam.image_encoder, "forward", "sam", len)
    count(segmenter.network.encoder._tower, "embed_patches", "clip", len)
    count(M2IB, "token_capacity", "saliency", lambda method, encoder, tokens, text: len(tokens) * len(text))
    return counted


@pytest.fixture
def picture(tmp_path):
    from PIL import Image

    path = tmp_path / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 255, (50, 70), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def volume():
    return torch.rand(1, 40, 48, 6, generator=torch.Generator().manual_seed(3)) * 100


def same(first, second) -> bool:
    return torch.equal(first.found.mask, second.found.mask) and torch.equal(first.found.coarse, second.found.coarse)


def test_a_second_text_reads_and_encodes_nothing(segmenter, calls, picture):
    opened = segmenter.open(picture)
    assert calls == {"read": 1}, "nothing is encoded before a text is there"
    opened("lungs")
    assert calls == {"read": 1, "sam": 1, "clip": 1, "saliency": 1}
    opened(["heart", "lungs"])
    assert calls == {"read": 1, "sam": 1, "clip": 1, "saliency": 2}, "the lungs' map was there"


def test_another_threshold_computes_no_saliency(segmenter, calls, picture):
    opened = segmenter.open(picture)
    opened("lungs")
    before = Counter(calls)
    for settings in ({"threshold": 0.7}, {"coarse.threshold": 0.4}, {"fusion": "best"}, {"prompts.points": 2}):
        opened("lungs", settings=settings)
    assert calls == before


def test_another_layer_encodes_for_clip_alone(segmenter, calls, picture):
    opened = segmenter.open(picture)
    opened("lungs")
    opened("lungs", settings={"saliency.layer": 2})
    assert (calls["sam"], calls["clip"], calls["saliency"]) == (1, 2, 2)


def test_presence_uses_the_tokens_of_saliency(segmenter, calls, picture):
    opened = segmenter.open(picture)
    found = opened("lungs", opposites="no lungs").found
    assert calls["clip"] == 1
    network = segmenter.network
    texts = network.encoder.encode_text(["lungs", "no lungs"])
    image = network.encoder.encode_image(opened.display[None])[0]
    scale = float(network.encoder.logit_scale)
    assert found.presence[0] == pytest.approx(float(torch.sigmoid(scale * (image @ (texts[0] - texts[1])))), abs=1e-4)


@pytest.mark.parametrize("settings", [{}, {"threshold": 0.7}, {"prompt_ensemble": "maps"}, {"fit": "letterbox"}])
def test_an_opened_image_answers_as_a_single_call(segmenter, picture, settings):
    opened = segmenter.open(picture)
    opened("heart")
    asked = {"chest": ["lungs", "heart"]}
    alone = segmenter.with_settings(settings)(picture, asked)
    found = opened(asked, settings=settings)
    assert same(found, alone)
    torch.testing.assert_close(found.found.saliency, alone.found.saliency, atol=1e-4, rtol=0)
    assert found.request == alone.request and found.input_sha256 == alone.input_sha256


def test_a_volume_s_slices_are_encoded_once(segmenter, calls, volume):
    opened = segmenter.open(volume, affine=np.eye(4))
    first = opened("lungs")
    assert (calls["sam"], calls["clip"], calls["saliency"]) == (6, 6, 6)
    assert same(opened("lungs"), first)
    opened("heart")
    assert (calls["sam"], calls["clip"], calls["saliency"]) == (6, 6, 12)
    assert same(first, segmenter(volume, "lungs", affine=np.eye(4)))


def test_what_is_kept_stays_within_its_bound(segmenter, calls, volume):
    opened = segmenter.open(volume, affine=np.eye(4))
    opened("lungs")
    everything = opened.memory.bytes
    small = MemoryCache(everything // 3)
    bounded = segmenter.open(volume, affine=np.eye(4), memory=small)
    calls.clear()
    assert same(bounded("lungs"), bounded("lungs"))
    assert 0 < small.bytes <= small.max_bytes
    assert 6 < calls["sam"] <= 12, "what had no room was made again"


def test_a_single_call_keeps_nothing(segmenter, picture):
    before = {id(one) for one in gc.get_objects() if isinstance(one, MemoryCache)}
    segmenter(picture, "lungs")
    assert not [one for one in gc.get_objects() if isinstance(one, MemoryCache) and id(one) not in before and one.bytes]


def test_images_that_share_a_memory_leave_it_when_they_go(segmenter, picture, volume):
    memory = MemoryCache(2**26)
    opened = segmenter.open(picture, memory=memory)
    other = segmenter.open(volume, affine=np.eye(4), memory=memory)
    opened("lungs")
    alone = memory.bytes
    other("lungs")
    assert memory.bytes > alone > 0
    other.close()
    assert memory.bytes == alone
    del opened
    gc.collect()
    assert memory.bytes == 0


def test_a_setting_that_does_not_fit_is_named(segmenter, picture):
    opened = segmenter.open(picture)
    with pytest.raises(InputError, match=r"saliency.layer must be under \d+, this CLIP's number of blocks, got 99"):
        opened("lungs", settings={"saliency.layer": 99})
    with pytest.raises(InputError, match="unknown setting 'gamma'"):
        opened("lungs", settings={"gamma": 1})


def test_an_opened_image_says_what_it_is_in_one_line(segmenter, picture):
    name, shape = (lambda one: (one.name, one.display.shape[1:]))(segmenter.open(picture))
    assert repr(segmenter.open(picture)) == f"Opened {name}, {shape[0]} x {shape[1]} pixels"


def test_another_fit_is_encoded_once_too(segmenter, calls, picture):
    opened = segmenter.open(picture)
    for _ in range(2):
        opened("lungs", settings={"fit": "letterbox"})
        assert calls["clip"] == calls["saliency"] == 1
    opened("lungs")
    again = segmenter.with_settings({"fit": "letterbox"}).with_settings({"fit": "squash"})
    opened.answer(again.request("lungs"), again)
    assert (calls["clip"], calls["saliency"], calls["sam"]) == (2, 2, 1), "back to the first fit nothing is new"


def test_a_method_that_cannot_be_hashed_is_known_as_itself(segmenter, picture):
    @dataclass
    class Block(SaliencyMethod):
        number: int

        def grids(self, image, text):
            tokens = image.after(self.number)[:, image.encoder.prefix_tokens :]
            return tokens[..., 0].unflatten(-1, image.encoder.grid).unsqueeze(1).repeat(1, len(text), 1, 1)

    memory = MemoryCache(2**26)
    opened = segmenter.open(picture, memory=memory)
    maps = []
    for method in (Block(1), Block(3)):
        parts = segmenter.network.encoder, segmenter.network.segmenter, segmenter.network.settings
        network = ZeroShotSegmenter(*parts, saliency=method)
        own = TextSegmenter(network, segmenter.preset, segmenter.weights)
        maps += [opened.answer(own.request("lungs"), own).found.saliency for _ in range(2)]
        torch.testing.assert_close(maps[-1], method(parts[0], opened.display[None], torch.ones(1, 24))[0])
    assert torch.equal(maps[0], maps[1]) and torch.equal(maps[2], maps[3]) and not torch.equal(maps[0], maps[2])


@pytest.mark.parametrize("keep", ["saliency", ["label_map"]])
def test_maps_to_keep_are_named_in_a_list(segmenter, picture, volume, keep):
    for opened in (segmenter.open(picture), segmenter.open(volume, affine=np.eye(4))):
        with pytest.raises(InputError, match=r"keep must be a list of some of saliency, probability, got '(s|l)\w+'"):
            opened("lungs", keep=keep)


def test_another_thread_may_encode_other_texts_in_between(segmenter):
    network = segmenter.network
    lungs, heart = parse_targets("lungs"), parse_targets("heart")

    class Interrupted(tuple):
        def __hash__(self) -> int:
            network.encode_texts(heart)
            return super().__hash__()

    network.encode_texts(lungs)
    assert network.encode_texts(Interrupted(lungs)).names == ("lungs",)
