"""MobileSAM: files with its published names load into timm's TinyViT, whose numbers are those of its formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from segment_anything import SamPredictor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.sam.med2d import SamMed2D
from medclipsam_monai.networks.sam.mobile import TinyVitEncoder, to_timm
from medclipsam_monai.networks.sam.segmenter import load_segmenter
from medclipsam_monai.networks.sam.sizes import build_mobile_sam, load_sam

WIDTHS, DEPTHS, HEADS, WINDOWS = (64, 128, 160, 320), (2, 2, 6, 2), (0, 4, 5, 10), (0, 7, 14, 7)


def convolution(name: str, out: int, into: int, side: int) -> dict[str, tuple[int, ...]]:
    norm = {f"{name}.bn.{part}": (out,) for part in ("weight", "bias", "running_mean", "running_var")}
    return {f"{name}.c.weight": (out, into, side, side), **norm, f"{name}.bn.num_batches_tracked": ()}


def linear(name: str, out: int, into: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the image encoder in mobile_sam.pt."""
    shapes = convolution("patch_embed.seq.0", 32, 3, 3) | convolution("patch_embed.seq.2", 64, 32, 3)
    for stage, (width, depth) in enumerate(zip(WIDTHS, DEPTHS, strict=True)):
        for number in range(depth):
            name = f"layers.{stage}.blocks.{number}"
            if stage == 0:
                shapes |= convolution(f"{name}.conv1", 4 * width, width, 1)
                shapes |= convolution(f"{name}.conv2", 4 * width, 1, 3) | convolution(f"{name}.conv3", width, 256, 1)
                continue
            shapes |= norm(f"{name}.attn.norm", width) | linear(f"{name}.attn.qkv", 3 * width, width)
            shapes |= linear(f"{name}.attn.proj", width, width) | norm(f"{name}.mlp.norm", width)
            shapes[f"{name}.attn.attention_biases"] = (HEADS[stage], WINDOWS[stage] ** 2)
            shapes |= linear(f"{name}.mlp.fc1", 4 * width, width) | linear(f"{name}.mlp.fc2", width, 4 * width)
            shapes |= convolution(f"{name}.local_conv", width, 1, 3)
        if stage < 3:
            name, wider = f"layers.{stage}.downsample", WIDTHS[stage + 1]
            shapes |= convolution(f"{name}.conv1", wider, width, 1) | convolution(f"{name}.conv2", wider, 1, 3)
            shapes |= convolution(f"{name}.conv3", wider, wider, 1)
    shapes |= norm("norm_head", 320) | linear("head", 1000, 320)
    shapes |= {"neck.0.weight": (256, 320, 1, 1), "neck.2.weight": (256, 256, 3, 3)}
    return shapes | norm("neck.1", 256) | norm("neck.3", 256)


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    draw, state = torch.Generator().manual_seed(3), {}
    for name, shape in published_shapes().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(9)
        elif len(shape) > 1:
            state[name] = torch.randn(shape, generator=draw) / max(1, np.prod(shape[1:])) ** 0.5
            state[name] = torch.randn(shape, generator=draw) if "biases" in name else state[name]
        else:
            spread = torch.rand(shape, generator=draw)
            state[name] = 0.5 + spread if name.endswith(("weight", "running_var")) else spread - 0.5
    return state


class Plain:
    """MobileSAM's image encoder written out over the tensors of a file."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        self.of = state

    def convolve(self, name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight, bn = self.of[f"{name}.c.weight"], f"{name}.bn"
        groups = x.shape[1] // weight.shape[1]
        x = F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=groups)
        mean, var = (self.of[f"{bn}.running_{part}"].view(-1, 1, 1) for part in ("mean", "var"))
        gain, bias = (self.of[f"{bn}.{part}"].view(-1, 1, 1) for part in ("weight", "bias"))
        return (x - mean) / (var + 1e-5).sqrt() * gain + bias

    def norm(self, name: str, x: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self.of[f"{name}.weight"], self.of[f"{name}.bias"], eps)

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self.of[f"{name}.weight"].T + self.of[f"{name}.bias"]

    def attend(self, name: str, x: torch.Tensor, heads: int, side: int) -> torch.Tensor:
        """One window (side * side, C)."""
        query, key, value = (
            self.linear(f"{name}.qkv", self.norm(f"{name}.norm", x)).view(len(x), heads, 3, -1).unbind(2)
        )
        place = torch.cartesian_prod(torch.arange(side), torch.arange(side))
        apart = (place[:, None] - place[None]).abs()
        bias = self.of[f"{name}.attention_biases"][:, apart[..., 0] * side + apart[..., 1]]
        weight = (torch.einsum("ihc,jhc->hij", query, key) / query.shape[-1] ** 0.5 + bias).softmax(-1)
        return self.linear(f"{name}.proj", torch.einsum("hij,jhc->ihc", weight, value).flatten(1))

    def block(self, name: str, x: torch.Tensor, heads: int, side: int) -> torch.Tensor:
        """One picture (1, C, H, W)."""
        height, width = x.shape[2:]
        grid = F.pad(x[0].permute(1, 2, 0), (0, 0, 0, -width % side, 0, -height % side))
        mixed = torch.empty_like(grid)
        for top in range(0, len(grid), side):
            for left in range(0, grid.shape[1], side):
                window = grid[top : top + side, left : left + side]
                found = self.attend(f"{name}.attn", window.flatten(0, 1), heads, side)
                mixed[top : top + side, left : left + side] = found.view(window.shape)
        x = self.convolve(f"{name}.local_conv", x + mixed[:height, :width].permute(2, 0, 1))
        tokens = x.permute(0, 2, 3, 1)
        inside = F.gelu(self.linear(f"{name}.mlp.fc1", self.norm(f"{name}.mlp.norm", tokens)))
        return (tokens + self.linear(f"{name}.mlp.fc2", inside)).permute(0, 3, 1, 2)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        x = self.convolve("patch_embed.seq.2", F.gelu(self.convolve("patch_embed.seq.0", x, 2)), 2)
        for stage, depth in enumerate(DEPTHS):
            for number in range(depth):
                name = f"layers.{stage}.blocks.{number}"
                if stage:
                    x = self.block(name, x, HEADS[stage], WINDOWS[stage])
                else:
                    inside = F.gelu(self.convolve(f"{name}.conv2", F.gelu(self.convolve(f"{name}.conv1", x))))
                    x = F.gelu(x + self.convolve(f"{name}.conv3", inside))
            if stage < 3:
                name = f"layers.{stage}.downsample"
                x = F.gelu(self.convolve(f"{name}.conv2", F.gelu(self.convolve(f"{name}.conv1", x)), 1 + (stage < 2)))
                x = self.convolve(f"{name}.conv3", x)
        x = F.conv2d(x, self.of["neck.0.weight"])
        x = self.norm("neck.1", x.permute(0, 2, 3, 1), 1e-6).permute(0, 3, 1, 2)
        x = F.conv2d(x, self.of["neck.2.weight"], padding=1)
        return self.norm("neck.3", x.permute(0, 2, 3, 1), 1e-6).permute(0, 3, 1, 2)


def test_the_encoder_is_its_formulas(published):
    encoder = TinyVitEncoder().eval()
    whole = to_timm({f"image_encoder.{name}": value for name, value in published.items()})
    encoder.load_state_dict({name.removeprefix("image_encoder."): value for name, value in whole.items()})
    x = torch.randn(1, 3, 176, 160, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, expected = encoder(x), Plain(published)(x)
    assert found.shape == (1, 256, 11, 10)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def file(published, tmp_path_factory):
    """As mobile_sam.pt is: the names of the whole network, bare."""
    torch.manual_seed(0)
    rest = {name: value for name, value in build_mobile_sam().state_dict().items() if not name.startswith("image_")}
    file = tmp_path_factory.mktemp("mobile") / "mobile_sam.pt"
    torch.save({**{f"image_encoder.{name}": value for name, value in published.items()}, **rest}, file)
    return file


def test_a_published_file_is_known_by_its_names(published, file, tmp_path):
    sam = load_sam(file)
    assert not isinstance(sam, SamMed2D)
    assert sum(value.numel() for value in sam.parameters()) == 10_130_092 - 321_640  # less the classifier, unread
    of = sam.image_encoder.state_dict()
    for theirs, ours in {
        "patch_embed.seq.2.c.weight": "patch_embed.conv2.conv.weight",
        "layers.0.blocks.1.conv3.bn.running_var": "stages.0.blocks.1.conv3.bn.running_var",
        "layers.2.downsample.conv2.c.weight": "stages.3.downsample.conv2.conv.weight",
        "layers.3.blocks.0.attn.attention_biases": "stages.3.blocks.0.attn.attention_biases",
        "neck.3.bias": "neck.3.bias",
    }.items():
        assert torch.equal(of[ours], published[theirs])

    state = torch.load(file, weights_only=True)
    del state["image_encoder.layers.1.blocks.0.local_conv.c.weight"]
    torch.save(state, tmp_path / "cut.pt")
    missing = "image_encoder.stages.1.blocks.0.local_conv.conv.weight"
    with pytest.raises(InputError, match=rf"another architecture .*: 1 names missing \(first {missing}\)$"):
        load_sam(tmp_path / "cut.pt")


@pytest.mark.slow
def test_same_masks_as_sam_predictor(file):
    segmenter = load_segmenter(file)
    image = np.random.default_rng(2).integers(0, 256, (60, 97, 3), dtype=np.uint8)
    embedding = segmenter.encode(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0]
    boxes = torch.tensor([[3.0, 5.0, 58.2, 54.0]])
    probability, quality = segmenter.decode(embedding, boxes, multimask=True)
    predictor = SamPredictor(segmenter.sam)
    predictor.set_image(image)
    scaled = predictor.transform.apply_boxes_torch(boxes, image.shape[:2])
    logits, expected, _ = predictor.predict_torch(None, None, scaled, return_logits=True)
    torch.testing.assert_close(probability, logits.sigmoid(), atol=1e-4, rtol=0)
    torch.testing.assert_close(quality, expected, atol=1e-4, rtol=0)
