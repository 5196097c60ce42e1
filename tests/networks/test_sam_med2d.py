"""SAM-Med2D: its adapters are their formulas, its pictures lie as its predictor puts them, and its files are known."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import window_partition, window_unpartition

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.sam.med2d import Adapter, SamMed2D, Stretched
from medclipsam_monai.networks.sam.segmenter import SAMSegmenter, load_segmenter, load_without_adapters
from medclipsam_monai.networks.sam.sizes import SAM_SIZES, SamSize, build_sam, load_sam
from medclipsam_monai.presets import networks

SAM = SamSize(48, 3, 3, (1,), window_size=3, prompt_embed_dim=32, decoder_num_heads=4)  # at SAM's 1024 pixels
MED2D = replace(SAM, image_size=256, stretched=True, adapters=True)
SHAPES = [(60, 97), (300, 256), (700, 433)]
BOXES = torch.tensor([[3.0, 5.0, 58.2, 54.0], [9.0, 9.0, 30.0, 30.0]])
POINTS, LABELS = torch.tensor([[[5.0, 7.0], [20.0, 30.0]]]), torch.tensor([[1, 0]])

OPENCV = [(186, 128, 92), (198, 128, 98), (246, 128, 122), (372, 64, 92), (2976, 248, 2882), (2994, 128, 1496)]
"""Length, place in 256, and which pixel ``cv2.resize(..., INTER_NEAREST)`` of OpenCV 5.0 takes there."""


def random_sam(size: SamSize):
    torch.manual_seed(0)
    sam = build_sam(size)
    for name, parameter in sam.named_parameters():
        if "pos" in name:
            torch.nn.init.normal_(parameter, std=0.3)
        elif ".spatial." in name:
            torch.nn.init.normal_(parameter, std=0.1)
        elif "hypernetworks" in name and "layers.2.weight" in name:
            torch.nn.init.normal_(parameter, std=0.5)  # so that masks differ from all one half
    return sam


@pytest.fixture(scope="module")
def sam():
    return random_sam(MED2D)


@pytest.fixture
def tiny_is_published(monkeypatch):
    """Files of the tiny networks are told as those of ViT-B are."""
    monkeypatch.setitem(SAM_SIZES, "vit_b", SAM)


def adapted(x: np.ndarray, of: dict[str, np.ndarray]) -> np.ndarray:
    """SAM-Med2D's adapter written out: tokens (H, W, C) to the same shape."""
    squeezed = np.maximum(of["channel.0.weight"] @ x.mean(axis=(0, 1)), 0)
    weighed = x / (1 + np.exp(-of["channel.2.weight"] @ squeezed))
    height, width, channels = x.shape
    padded, half = np.zeros((height + 2, width + 2, channels)), np.zeros((height // 2, width // 2, channels))
    padded[1:-1, 1:-1] = weighed
    for row, column in np.ndindex(3, 3):
        half += (
            padded[row : row + height : 2, column : column + width : 2] @ of["spatial.0.weight"][:, :, row, column].T
        )
    spread = np.zeros((height + 2, width + 2, channels))  # one pixel more on each side, which the padding takes off
    for row, column in np.ndindex(4, 4):
        part = np.maximum(half, 0) @ of["spatial.2.weight"][:, :, row, column]
        spread[row : row + height : 2, column : column + width : 2] += part
    whole = x + np.maximum(spread[1:-1, 1:-1], 0)
    centred = whole - whole.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(centred.var(axis=-1, keepdims=True) + 1e-5) * of["norm.weight"] + of["norm.bias"]


def encoded(sam, image: np.ndarray, with_adapters: bool) -> torch.Tensor:
    """The picture's embedding from segment_anything's own parts and the adapter written out."""
    (height, width), side = image.shape[:2], sam.image_encoder.img_size
    rows = [min(int(row * (1 / (side / height))), height - 1) for row in range(side)]
    columns = [min(int(column * (1 / (side / width))), width - 1) for column in range(side)]
    picture = (image[rows][:, columns] - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    encoder = sam.image_encoder
    x = encoder.patch_embed(torch.from_numpy(picture).permute(2, 0, 1)[None].float()) + encoder.pos_embed
    for block in encoder.blocks:
        inside = block.norm1(x)
        if block.window_size:
            windows, padded = window_partition(inside, block.window_size)
            inside = window_unpartition(block.attn(windows), block.window_size, padded, x.shape[1:3])
        else:
            inside = block.attn(inside)
        x = x + inside
        normed = block.norm2(x)
        x = x + block.mlp(normed)
        if with_adapters:
            of = {name: value.double().numpy() for name, value in block.Adapter.state_dict().items()}
            x = x + torch.from_numpy(adapted(normed[0].double().numpy(), of)).float()
    return encoder.neck(x.permute(0, 3, 1, 2))


def test_an_adapter_is_its_formula():
    torch.manual_seed(1)
    adapter = Adapter(12)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 6, 4, 12)
    of = {name: value.double().numpy() for name, value in adapter.state_dict().items()}
    with torch.no_grad():
        found = adapter(x)
    for one, tokens in zip(found, x, strict=True):
        np.testing.assert_allclose(one.numpy(), adapted(tokens.double().numpy(), of), atol=1e-5)


@pytest.mark.parametrize("with_adapters", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kind", "multimask"), [("boxes", True), ("points", False)])
@torch.no_grad()
def test_same_masks_as_the_formulas(sam, with_adapters, shape, kind, multimask):
    if not with_adapters:
        size = replace(MED2D, adapters=False)
        plain = build_sam(size)
        plain.load_state_dict({name: value for name, value in sam.state_dict().items() if "Adapter" not in name})
    segmenter = SAMSegmenter(copy.deepcopy(sam) if with_adapters else plain)
    image = np.random.default_rng(shape[0]).integers(0, 256, (*shape, 3), dtype=np.uint8)
    embedding = segmenter.encode(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0]
    features = encoded(sam, image, with_adapters)
    torch.testing.assert_close(embedding.features, features, atol=1e-4, rtol=0)

    prompt = {"boxes": BOXES} if kind == "boxes" else {"points": POINTS, "labels": LABELS}
    probability, quality = segmenter.decode(embedding, **prompt, multimask=multimask)
    scale = torch.tensor([256 / shape[1], 256 / shape[0]])
    boxes = (BOXES.view(-1, 2, 2) * scale).flatten(1) if kind == "boxes" else None
    points = (POINTS * scale, LABELS) if kind == "points" else None
    sparse, dense = sam.prompt_encoder(points=points, boxes=boxes, masks=None)
    low, expected = sam.mask_decoder(features, sam.prompt_encoder.get_dense_pe(), sparse, dense, multimask)
    logits = F.interpolate(F.interpolate(low, (256, 256), mode="bilinear"), shape, mode="bilinear")
    torch.testing.assert_close(probability, logits.sigmoid(), atol=1e-4, rtol=0)
    torch.testing.assert_close(quality, expected, atol=1e-4, rtol=0)
    assert probability.std() > 0.01


def test_pixels_are_those_that_opencv_takes():
    picture = torch.arange(3000).expand(1, 1, 2, -1)
    for length, place, expected in OPENCV:  # where its rounding shows: by exact fractions each is one more
        assert Stretched(256).resize(picture[..., :length])[0, 0, 0, place] == expected == place * length // 256 - 1


def test_a_published_file_is_known_by_its_names(sam, tiny_is_published, tmp_path):
    optimizer = torch.optim.Adam(sam.image_encoder.neck.parameters())
    sum(value.sum() for value in sam.image_encoder.neck.parameters()).backward()
    optimizer.step()  # so that it keeps something, as that of SAM-Med2D's own training does
    torch.save({"model": sam.state_dict(), "optimizer": optimizer}, tmp_path / "sam-med2d_b.pth")
    segmenter = load_segmenter(tmp_path / "sam-med2d_b.pth")
    assert isinstance(segmenter.sam, SamMed2D) and segmenter.image_size == 256
    assert all(torch.equal(value, segmenter.sam.state_dict()[name]) for name, value in sam.state_dict().items())

    plain = networks.load_segmenter("sam_without_adapters", tmp_path / "sam-med2d_b.pth", "cpu")
    assert isinstance(plain.sam, SamMed2D) and plain.image_size == 256
    names = plain.sam.state_dict().keys()
    assert names == {name for name in sam.state_dict() if "Adapter" not in name} and len(names) < len(sam.state_dict())


def test_files_without_adapters(tiny_is_published, tmp_path):
    torch.save(random_sam(replace(MED2D, adapters=False)).state_dict(), tmp_path / "ft-sam_b.pth")
    torch.save(random_sam(SAM).state_dict(), tmp_path / "sam.pth")
    for load in (load_segmenter, load_without_adapters):
        trained_further, sam = load(tmp_path / "ft-sam_b.pth"), load(tmp_path / "sam.pth")
        assert isinstance(trained_further.sam, SamMed2D) and trained_further.image_size == 256
        assert not isinstance(sam.sam, SamMed2D) and sam.image_size == 1024


def test_what_does_not_fit_is_one_line(sam, tiny_is_published, tmp_path):
    def refusal(change) -> str:
        state = dict(sam.state_dict())
        change(state)
        torch.save({"model": state}, tmp_path / "other.pth")
        with pytest.raises(InputError) as refused:
            load_sam(tmp_path / "other.pth")
        assert "\n" not in str(refused.value)
        return str(refused.value)

    key, positions = "image_encoder.blocks.1.Adapter.spatial.2.weight", "image_encoder.pos_embed"
    assert f"than this SamMed2D: 1 names missing (first {key})" in refusal(lambda state: state.pop(key))
    found = refusal(lambda state: state.update({positions: torch.zeros(1, 32, 32, 48)}))
    assert "is for pictures of 512 pixels; expected 1024 as SAM or 256 as SAM-Med2D" in found
    found = refusal(lambda state: state.update({positions: torch.zeros(1, 16, 20, 48)}))
    assert "of another shape (image_encoder.pos_embed is (1, 16, 20, 48), expected (1, 16, 16, 48))" in found
    with pytest.raises(InputError, match="image_size in x must be a multiple of 32, got 240"):
        SamSize.from_dict({**vars(MED2D), "encoder_global_attn_indexes": [1], "image_size": 240}, "x")
