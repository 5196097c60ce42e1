"""UniverSeg against the paper's equations, written out pair by pair, and the names of the published file."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.universeg import UniverSeg, load_universeg

WIDTHS = (4, 6, 5)


def reference(state, levels, target, images, labels):
    """Equations 2 and 3 for one target (1, H, W) and n members (n, 1, H, W), a pair at a time."""
    conv = lambda x, name: F.conv2d(x[None], state[f"{name}.weight"], state[f"{name}.bias"], padding="same")[0]  # noqa: E731
    up = lambda x: torch.nn.UpsamplingBilinear2d(scale_factor=2)(x[None])[0]  # noqa: E731
    down = torch.nn.MaxPool2d(2, 2)
    act = torch.nn.LeakyReLU()

    def block(name, u, vs):
        zs = [conv(torch.cat([u, v]), f"{name}.cross.cross_conv") for v in vs]
        mean = sum(zs) / len(zs)
        return act(conv(mean, f"{name}.target.vmapped.conv")), [
            act(conv(z, f"{name}.support.vmapped.conv")) for z in zs
        ]

    u, vs, kept = target, [torch.cat(pair) for pair in zip(images, labels, strict=True)], []
    for level in range(levels):
        u, vs = block(f"enc_blocks.{level}", u, vs)
        if level < levels - 1:
            kept.append((u, vs))
            u, vs = down(u), [down(v) for v in vs]
    for level in range(levels - 1):
        skip, skips = kept.pop()
        u, vs = torch.cat([up(u), skip]), [torch.cat([up(v), s]) for v, s in zip(vs, skips, strict=True)]
        u, vs = block(f"dec_blocks.{level}", u, vs)
    return conv(u, "out_conv.conv")


@pytest.mark.parametrize("members", [1, 3])
def test_the_network_is_that_of_the_equations(members):
    torch.manual_seed(0)
    network = UniverSeg(WIDTHS).double()
    target, images = torch.rand(2, 1, 16, 24).double(), torch.rand(2, members, 1, 16, 24).double()
    labels = (torch.rand(2, members, 1, 16, 24) > 0.5).double()
    with torch.no_grad():
        found = network(target, images, labels)
        for one in range(2):
            expected = reference(network.state_dict(), 3, target[one], images[one], labels[one])
            torch.testing.assert_close(found[one], expected, atol=1e-10, rtol=1e-10)


def test_its_parameters_have_the_names_and_shapes_of_the_published_file():
    shapes = {key: tuple(value.shape) for key, value in UniverSeg().state_dict().items()}
    blocks = [*(f"enc_blocks.{k}" for k in range(4)), *(f"dec_blocks.{k}" for k in range(3))]
    parts = ("cross.cross_conv", "target.vmapped.conv", "support.vmapped.conv")
    names = [f"{block}.{part}" for block in blocks for part in parts] + ["out_conv.conv"]
    assert set(shapes) == {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}
    assert shapes["enc_blocks.0.cross.cross_conv.weight"] == (64, 3, 3, 3)
    assert shapes["enc_blocks.1.cross.cross_conv.weight"] == (64, 128, 3, 3)
    assert shapes["dec_blocks.0.cross.cross_conv.weight"] == (64, 256, 3, 3)
    assert shapes["out_conv.conv.weight"] == (1, 64, 1, 1)
    assert sum(value.numel() for value in UniverSeg().parameters()) == 1_182_785  # the paper says 1.2 million


def test_a_file_is_loaded_and_segments_a_picture_of_any_shape(tmp_path):
    torch.manual_seed(1)
    network = UniverSeg(WIDTHS)
    torch.save(network.state_dict(), tmp_path / "u.pt")
    save_file(network.state_dict(), tmp_path / "u.safetensors")
    picture, mask = torch.rand(3, 50, 70), torch.zeros(40, 40, dtype=torch.bool)
    mask[10:20, 10:20] = True
    pairs = [(torch.rand(3, 40, 40), mask)]
    found = load_universeg(tmp_path / "u.pt").segment(picture, pairs)
    assert found.shape == (50, 70) and 0 <= float(found.min()) <= float(found.max()) <= 1
    assert torch.equal(found, load_universeg(tmp_path / "u.safetensors").segment(picture, pairs))


def test_files_of_other_networks_are_refused(tmp_path):
    save_file({"a.weight": torch.zeros(3)}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="holds no UniverSeg"):
        load_universeg(tmp_path / "a.safetensors")
    state = UniverSeg(WIDTHS).state_dict()
    del state["out_conv.conv.bias"]
    save_file(state, tmp_path / "b.safetensors")
    with pytest.raises(InputError, match=r"out_conv\.conv\.bias"):
        load_universeg(tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="not found"):
        load_universeg(tmp_path / "c.pt")
