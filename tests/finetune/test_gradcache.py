from __future__ import annotations

import pytest
import torch

from medclipsam_monai.finetune import ContrastiveCLIP, contrastive_backward
from medclipsam_monai.losses import DHNNCELoss
from medclipsam_monai.losses.contrastive import LOSSES


def gradients(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    return found


def labels(batch) -> tuple[torch.Tensor, torch.Tensor]:
    return batch["case"], batch["caption"]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("chunk", [1, 3, 4])
def test_chunks_give_the_loss_and_gradients_of_the_big_batch(network, batch, name, chunk):
    loss = LOSSES[name](learn_temperature=True)
    inputs = (network, loss, batch["image"], batch["text"], labels(batch))
    expected = loss(*network(batch["image"], batch["text"]))
    expected.backward()
    wanted = gradients(network) | gradients(loss)
    for size in (None, chunk):
        value = contrastive_backward(*inputs, chunk_size=size)
        found = gradients(network) | gradients(loss)
        assert value.item() == pytest.approx(expected.item(), abs=1e-5)
        assert found.keys() == wanted.keys() and "log_temperature" in found
        for key in wanted:
            torch.testing.assert_close(found[key], wanted[key], atol=1e-5, rtol=1e-4, msg=key)


def test_known_false_negatives_are_left_out(network, batch):
    same = torch.zeros(8, dtype=torch.long)
    same[4:] = torch.arange(1, 5)
    full = contrastive_backward(network, DHNNCELoss(), batch["image"], batch["text"], (torch.arange(8),), 3)
    less = contrastive_backward(network, DHNNCELoss(), batch["image"], batch["text"], (same,), 3)
    assert less < full


def test_dropout_leaves_out_the_same_in_both_passes(clip_folder, batch):
    network = ContrastiveCLIP(clip_folder)
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, image, text):
            seen.append(network(image, text)[1].detach())
            return network(image, text)

    def forward_twice_differs() -> bool:
        return not torch.equal(*(network(batch["image"], batch["text"])[1] for _ in range(2)))

    network.train()
    assert forward_twice_differs()
    contrastive_backward(Spy(), DHNNCELoss(), batch["image"], batch["text"], (), chunk_size=4)
    assert len(seen) == 4 and torch.equal(seen[0], seen[2]) and torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])


def test_a_chunk_must_hold_something(network, batch):
    with pytest.raises(ValueError, match="chunk_size must be positive, got 0"):
        contrastive_backward(network, DHNNCELoss(), batch["image"], batch["text"], (), chunk_size=0)
