from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from medclipsam_monai.losses import DHNNCELoss, gather_rows, same_group

FALSE_NEGATIVES = torch.tensor([[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)


def test_pairs_that_share_a_case_or_a_caption_are_marked():
    case, caption = torch.tensor([7, 7, 8, 9]), torch.tensor([1, 2, 3, 1])
    assert torch.equal(same_group(case, caption), FALSE_NEGATIVES)


@pytest.mark.parametrize("labels", [(), (torch.zeros(3), torch.zeros(2)), (torch.zeros(2, 2),)])
def test_labels_that_are_not_vectors_of_one_length_are_refused(labels):
    with pytest.raises(ValueError, match="vectors of one length"):
        same_group(*labels)


def test_one_process_gathers_its_own_rows():
    rows = torch.randn(3, 2, requires_grad=True)
    assert gather_rows(rows) is rows


def _joint_gradients(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    image, text = (x.clone().requires_grad_() for x in features)
    loss = DHNNCELoss()(image, text)
    loss.backward()
    return loss.detach(), torch.stack([image.grad, text.grad])


def _one_rank(rank: int, folder: str, features: torch.Tensor) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    own = [x.chunk(2)[rank].clone().requires_grad_() for x in features]
    loss = DHNNCELoss()(*(gather_rows(x) for x in own))
    loss.backward()
    torch.save((loss.detach(), torch.stack([x.grad for x in own])), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_see_the_joint_loss_and_twice_its_gradient(tmp_path):
    features = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mp.spawn(_one_rank, (str(tmp_path), features), nprocs=2)
    loss, gradient = _joint_gradients(features)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert all(part[0] == pytest.approx(loss.item(), abs=1e-12) for part in parts)
    torch.testing.assert_close(torch.cat([part[1] for part in parts], dim=1), 2 * gradient)
