"""SaLIP and SAMAug: segment everything against segment_anything's own generator, the choices against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from network_doubles import BoxSegmenter, BrightnessEncoder
from PIL import Image
from scipy import ndimage

from medclipsam_monai.networks.sam.segmenter import load_segmenter
from medclipsam_monai.phantoms.samples import sample_pictures
from medclipsam_monai.presets.settings import Settings
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.study.conditions import RIVALS
from medclipsam_monai.study.rivals import samaug
from medclipsam_monai.study.rivals.everything import Everything
from medclipsam_monai.study.rivals.table import METHODS
from medclipsam_monai.weights.registry import resolve
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter


class RegionSegmenter(BoxSegmenter):
    """Its mask of a point is the region of one grey level that the point lies in; of a box, the box."""

    def encode(self, image):
        return [(shape, picture[0].numpy()) for shape, picture in zip(super().encode(image), image, strict=True)]

    def decode(self, embedding, boxes=None, points=None, labels=None, multimask=False):
        shape, grey = embedding
        if boxes is not None:
            return super().decode(shape, boxes=boxes)
        found = []
        for x, y in points[:, 0].long().tolist():
            regions, _ = ndimage.label(grey == grey[y, x])
            found.append(torch.from_numpy(regions == regions[y, x]).float())
        masks = torch.stack(found)[:, None].expand(-1, 3 if multimask else 1, -1, -1)
        return masks, torch.ones(masks.shape[:2])


@pytest.fixture(scope="module")
def network():
    settings = Settings(saliency={"method": "gradcam"}, coarse={"threshold": "otsu", "components": "largest"})
    return ZeroShotSegmenter(BrightnessEncoder(), RegionSegmenter(), settings)


@pytest.fixture(scope="module")
def images(network):
    picture = torch.full((3, 64, 64), 0.5)
    picture[:, 8:24, 8:24] = 0.9
    picture[:, 40:56, 32:56] = 0.1
    return network.encode_images(picture[None])


def test_the_names_are_those_that_a_plan_takes():
    assert tuple(METHODS) == RIVALS


@pytest.mark.parametrize(
    ("text", "rows", "columns"), [("bright", slice(8, 24), slice(8, 24)), ("dark", slice(40, 56), slice(32, 56))]
)
def test_salip_takes_the_piece_that_the_text_is_true_of(network, images, text, rows, columns):
    expected = torch.zeros(64, 64, dtype=torch.bool)
    expected[rows, columns] = True
    assert torch.equal(METHODS["salip"](network, images, network.encode_texts(parse_targets(text))), expected)


def test_where_nothing_is_found_the_mask_is_empty(network):
    plain = network.encode_images(torch.full((1, 3, 64, 64), 0.5))  # one region, as large as the picture
    assert not METHODS["salip"](network, plain, network.encode_texts(parse_targets("bright"))).any()


@pytest.mark.parametrize("name", RIVALS[1:])
def test_samaug_gives_the_region_that_the_text_lights_up(network, images, name, monkeypatch):
    lit = torch.zeros(1, 1, 64, 64)
    lit[..., 10:20, 10:20] = 1
    monkeypatch.setattr(ZeroShotSegmenter, "saliency_maps", lambda *_: lit)
    found = METHODS[name](network, images, network.encode_texts(parse_targets("bright")))
    assert found[8:24, 8:24].all() and int(found.sum()) == 256
    monkeypatch.setattr(ZeroShotSegmenter, "saliency_maps", lambda *_: torch.zeros(1, 1, 64, 64))
    assert not METHODS[name](network, images, network.encode_texts(parse_targets("bright"))).any()


def test_second_points_are_those_that_their_names_say():
    mask, grey, saliency = np.zeros((30, 40), bool), np.full((30, 40), 0.5), np.zeros((30, 40))
    mask[5:25, 10:35] = True
    grey[18:24, 28:34] = np.random.default_rng(0).random((6, 6))
    saliency[7, 11], saliency[0, 0] = 0.7, 1.0  # the second lies outside
    first = samaug.deepest(mask)
    assert mask[first] and abs(first[0] - 14.5) <= 0.5
    assert samaug.salient_point(first, mask, grey, saliency) == (7, 11)
    assert samaug.distant_point((6, 11), mask, grey, saliency) == (24, 34)
    entropy = samaug.local_entropy(grey)
    row, column = samaug.entropy_point((8, 14), mask, grey, saliency)
    assert entropy[row, column] == entropy[mask].max() > entropy[8, 14] == 0
    assert mask[samaug.random_point(first, mask, grey, saliency)]


def test_the_entropy_is_that_of_the_histogram_of_9_x_9_pixels():
    grey = np.random.default_rng(1).integers(0, 5, (14, 12)) / 255
    levels = np.pad(np.round(grey * 255).astype(int), 4, mode="edge")
    for row, column in ((0, 0), (3, 7), (13, 11)):
        share = np.bincount(levels[row : row + 9, column : column + 9].ravel()) / 81
        expected = -(share[share > 0] * np.log2(share[share > 0])).sum()
        assert samaug.local_entropy(grey)[row, column] == pytest.approx(expected, abs=1e-9)


def test_everything_is_what_segment_anything_s_own_generator_finds():
    from segment_anything import SamAutomaticMaskGenerator

    segmenter = load_segmenter(resolve("demo/sam"))
    pixels = np.asarray(Image.open(sample_pictures()["ct_chest"]).convert("RGB"), np.float32)
    picture = torch.from_numpy(pixels / 255).permute(2, 0, 1)
    shape = (int(picture.shape[1]), int(picture.shape[2]))
    masks, boxes = Everything(6, 0.5, 0.8, smallest=0, largest=1)(segmenter, segmenter.encode(picture[None])[0], shape)
    theirs = SamAutomaticMaskGenerator(
        segmenter.sam,
        6,
        pred_iou_thresh=0.5,
        stability_score_thresh=0.8,
        stability_score_offset=1.0,
        box_nms_thresh=0.7,
    ).generate((picture.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())
    assert len(masks) == len(theirs) > 1
    expected = {tuple(map(int, one["bbox"])): one["segmentation"] for one in theirs}
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True):
        np.testing.assert_array_equal(mask.numpy(), expected[x0, y0, x1 - x0, y1 - y0])
