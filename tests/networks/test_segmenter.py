from __future__ import annotations

import copy
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import save_file
from segment_anything import SamPredictor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.prompted import prompted_masks
from medclipsam_monai.networks.sam.fused_attention import fuse_attention
from medclipsam_monai.networks.sam.fusion import FUSIONS
from medclipsam_monai.networks.sam.segmenter import SAMSegmenter, load_segmenter
from medclipsam_monai.networks.sam.sizes import SAM_SIZES, SamSize, build_sam, load_sam
from medclipsam_monai.transforms import PromptsFromMask
from medclipsam_monai.weights.registry import resolve

TINY = SamSize(48, 3, 3, (1,), image_size=128, window_size=3, prompt_embed_dim=32, decoder_num_heads=4)


@pytest.fixture(scope="module")
def sam():
    torch.manual_seed(0)
    sam = build_sam(TINY)
    for name, parameter in sam.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return sam


@pytest.fixture(scope="module")
def segmenter(sam):
    return SAMSegmenter(copy.deepcopy(sam), decode_chunk=2)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).permute(2, 0, 1)[None].float() / 255


def test_fused_attention_keeps_numbers_and_keys(sam):
    fused = copy.deepcopy(sam.image_encoder)
    fuse_attention(fused)
    x = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(fused(x), sam.image_encoder(x), atol=1e-5, rtol=1e-5)
    assert fused.state_dict().keys() == sam.image_encoder.state_dict().keys()


@pytest.mark.parametrize("shape", [(128, 128), (64, 100), (300, 100), (37, 211)])
@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("kind", ["boxes", "points", "both"])
def test_same_masks_as_sam_predictor(sam, segmenter, shape, multimask, kind):
    height, width = shape
    image = picture(height, width)
    boxes = torch.tensor([[3.0, 5.0, width * 0.6, height * 0.9], [0.0, 0.0, width - 1.0, height - 1.0], [9, 9, 30, 30]])
    points = torch.tensor([[[5.0, 7.0], [20.0, 30.0]]]).expand(3, -1, -1) + torch.arange(3.0).view(3, 1, 1)
    labels = torch.tensor([[1, 0]]).expand(3, -1)
    if kind == "boxes":
        prompt = {"boxes": boxes}
    else:
        prompt = {"points": points, "labels": labels} | ({"boxes": boxes} if kind == "both" else {})
    embedding = segmenter.encode(as_tensor(image))[0]
    probability, quality = segmenter.decode(embedding, **prompt, multimask=multimask)

    predictor = SamPredictor(sam)
    predictor.set_image(image)
    scaled = {
        "boxes": predictor.transform.apply_boxes_torch(boxes, shape) if "boxes" in prompt else None,
        "point_coords": predictor.transform.apply_coords_torch(points, shape) if "points" in prompt else None,
        "point_labels": labels if "points" in prompt else None,
    }
    logits, expected_quality, _ = predictor.predict_torch(**scaled, multimask_output=multimask, return_logits=True)
    assert probability.shape == (3, 3 if multimask else 1, height, width)
    torch.testing.assert_close(probability, logits.sigmoid(), atol=1e-4, rtol=0)
    torch.testing.assert_close(quality, expected_quality, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(128, 128), (64, 100), (300, 100)])
@pytest.mark.parametrize("multimask", [False, True])
def test_a_mask_prompt_is_sam_predictor_s_mask_input(sam, segmenter, shape, multimask):
    image = picture(*shape)
    boxes = torch.tensor([[3.0, 5.0, shape[1] * 0.6, shape[0] * 0.9], [0.0, 0.0, 40.0, 50.0], [9.0, 9.0, 30.0, 30.0]])
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    scaled = predictor.transform.apply_boxes_torch(boxes, shape)
    _, _, guess = predictor.predict_torch(None, None, scaled, multimask_output=False)
    logits, expected_quality, _ = predictor.predict_torch(
        None, None, scaled, mask_input=guess, multimask_output=multimask, return_logits=True
    )
    embedding = segmenter.encode(as_tensor(image))[0]
    probability, quality = segmenter.decode(embedding, boxes, multimask=multimask, masks=guess[:, 0])
    torch.testing.assert_close(probability, logits.sigmoid(), atol=1e-4, rtol=0)
    torch.testing.assert_close(quality, expected_quality, atol=1e-4, rtol=0)
    assert not torch.allclose(probability, segmenter.decode(embedding, boxes, multimask=multimask)[0], atol=1e-3)


def test_a_mask_becomes_logits_over_the_square(segmenter):
    masks = torch.zeros(2, 64, 100)  # 82 x 128 in the square of 128, so 20.5 of 32 rows of the logits
    masks[0], masks[1, :, :50] = 1, 1
    expected = torch.full((2, 32, 32), -10.0)
    expected[0, :20], expected[0, 20] = 10, 0
    expected[1, :20, :16], expected[1, 20, :16] = 10, 0
    found = segmenter.mask_logits(masks)
    away = torch.ones(32, dtype=torch.bool)
    away[15:17] = False  # where the border is mixed by the resizing
    torch.testing.assert_close(found[:, :, away], expected[:, :, away], atol=1e-4, rtol=0)
    assert (found[1, :20, 15] > 0).all() and (found[1, :20, 16] < 0).all()


def test_weights_say_whether_they_have_learnt_masks(sam, tmp_path):
    assert all(size.takes_masks for size in SAM_SIZES.values())
    for name in ("small/sam", "demo/sam"):
        assert not load_segmenter(resolve(name)).takes_masks
    save_file(sam.state_dict(), tmp_path / "sam.safetensors")
    for takes in (False, True):
        (tmp_path / "config.json").write_text(json.dumps(asdict(replace(TINY, takes_masks=takes))))
        assert load_segmenter(tmp_path).takes_masks is takes


def test_a_segmenter_that_never_learnt_masks_is_asked_without(segmenter):
    embedding = segmenter.encode(as_tensor(picture(64, 100)))[0]
    mask = torch.zeros(64, 100, dtype=torch.bool)
    mask[10:40, 20:60] = True
    (plain,) = PromptsFromMask("single")(mask[None])
    other = SAMSegmenter(segmenter.sam, takes_masks=False)
    without, refused, taken = (
        prompted_masks(one, embedding, [prompts], (64, 100)).probability
        for one, prompts in ((other, plain), (other, plain.with_mask(mask)), (segmenter, plain.with_mask(mask)))
    )
    assert torch.equal(without, refused) and not torch.allclose(without, taken, atol=1e-3)
    expected, _ = segmenter.decode(embedding, plain.boxes, masks=segmenter.mask_logits(mask[None]))
    assert torch.equal(taken, expected[:, 0])


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({}, "neither"),
        ({"points": torch.zeros(1, 2, 2)}, "come together"),
        ({"boxes": torch.zeros(4)}, r"\(N, 4\)"),
        ({"boxes": torch.zeros(0, 4)}, "at least one"),
        ({"boxes": torch.zeros(2, 4), "points": torch.zeros(1, 1, 2), "labels": torch.zeros(1, 1)}, "as many"),
        ({"boxes": torch.zeros(2, 4), "masks": torch.zeros(1, 32, 32)}, r"masks must be \(2, h, w\)"),
        ({"boxes": torch.zeros(2, 4), "masks": torch.zeros(2, 64, 64)}, r"masks must be \(2, 32, 32\), got \(2, 64"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(segmenter, prompt, message):
    embedding = segmenter.encode(torch.zeros(1, 3, 32, 32))[0]
    with pytest.raises(ValueError, match=message):
        segmenter.decode(embedding, **prompt)


def test_a_folder_with_sizes_of_its_own_loads(sam, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(asdict(TINY)))
    save_file({k: v.half() for k, v in sam.state_dict().items()}, tmp_path / "sam.safetensors")
    loaded = load_segmenter(tmp_path).sam.state_dict()
    assert all(torch.allclose(loaded[k], v, atol=1e-2) for k, v in sam.state_dict().items())


def test_a_checkpoint_of_no_known_size_is_refused(sam, tmp_path):
    torch.save(sam.state_dict(), tmp_path / "tiny.pth")
    with pytest.raises(InputError, match=r"48 wide; expected a SAM of ViT-B, L or H"):
        load_sam(tmp_path / "tiny.pth")


@pytest.mark.parametrize(
    ("config", "message"), [("{}", "lacks a key"), ('{"depth": 3}', "unknown key depth"), ("[]", "object")]
)
def test_a_bad_size_file_is_refused(tmp_path, config, message):
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(InputError, match=message):
        load_sam(tmp_path)


@pytest.mark.parametrize("name", sorted(FUSIONS))
def test_fusion_keeps_what_all_masks_agree_on(name):
    probability = torch.zeros(1, 3, 4, 4)
    probability[0, :, 1:3, 1:3] = 0.9
    probability[0, 2, 0, 0] = 0.8  # one vote of three
    fused = FUSIONS[name](probability, torch.tensor([[0.9, 0.8, 0.1]]))
    assert fused.shape == (1, 4, 4)
    assert bool((fused[0, 1:3, 1:3] > 0.5).all())
    assert float(fused[0, 0, 0]) < 0.5 and float(fused[0, 3, 3]) < 0.5


def test_fusion_by_staple_is_what_simple_itk_estimates():
    rng = np.random.default_rng(0)
    truth = rng.random((2, 1, 30, 40)) < 0.4
    probability = (truth ^ (rng.random((2, 3, 30, 40)) < [[[0.05]], [[0.1]], [[0.2]]])).astype(np.float32)
    fused = FUSIONS["staple"](torch.from_numpy(probability), torch.ones(2, 3))
    for n, votes in enumerate(probability.astype(np.uint8)):
        expected = sitk.GetArrayFromImage(sitk.STAPLE([sitk.GetImageFromArray(vote) for vote in votes], 1.0))
        np.testing.assert_array_equal(fused[n].numpy(), expected.astype(np.float32))
    assert ((fused > 0.5).numpy() == truth[:, 0]).mean() > 0.94


def test_fusion_by_staple_of_equal_masks_is_that_mask():
    probability = torch.zeros(1, 3, 4, 4)
    probability[..., :2] = 1.0
    assert torch.equal(FUSIONS["staple"](probability, torch.ones(1, 3)), probability[:, 0])
