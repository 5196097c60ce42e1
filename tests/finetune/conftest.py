"""A tiny CLIP without dropout and twelve phantoms, and a whole training of them in a second or two."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler
from torch.utils.data import DataLoader

from medclipsam_monai.finetune import (
    ContrastiveCLIP,
    ContrastiveUpdate,
    EarlyStopping,
    History,
    SeedEpochs,
    TrainingCheckpoint,
    ValidateFirst,
    WarmupCosine,
    parameter_groups,
    prepare_pairs,
    retrieval_features,
)
from medclipsam_monai.finetune.data.dataset import ImageTextDataset, load_pairs
from medclipsam_monai.finetune.data.sampler import DistinctBatchSampler
from medclipsam_monai.losses import DHNNCELoss
from medclipsam_monai.metrics import RetrievalInBatches


@pytest.fixture(scope="session")
def steady_clip(clip_folder, tmp_path_factory) -> Path:
    """The tiny CLIP with no dropout, so that two ways to the same gradient can be compared."""
    folder = tmp_path_factory.mktemp("steady") / "clip"
    shutil.copytree(clip_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config.update(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def network(steady_clip) -> ContrastiveCLIP:
    return ContrastiveCLIP(steady_clip)


@pytest.fixture(scope="session")
def pairs():
    return load_pairs("phantoms", 12)


@pytest.fixture(scope="session")
def dataset(pairs, steady_clip) -> ImageTextDataset:
    network = ContrastiveCLIP(steady_clip)
    return ImageTextDataset(pairs, network.tokenize, network.preprocess)


@pytest.fixture
def batch(dataset):
    return next(iter(DataLoader(dataset, batch_size=8)))


@pytest.fixture
def make_training(dataset):
    """A function that puts a whole training together, as the bundle's train.json does."""

    def make(source, folder: Path, epochs: int = 2, resume: bool = False, patience: int = 0, **options):
        torch.manual_seed(0)
        network = ContrastiveCLIP(source, lora_rank=options.pop("lora_rank", 0))
        loss = DHNNCELoss(learn_temperature=True)
        optimizer = torch.optim.AdamW(parameter_groups(network, 1e-3, 0.1, loss=loss))
        sampler = DistinctBatchSampler(dataset.cases, dataset.captions, 4)
        scheduler = WarmupCosine(optimizer, 12, 2)
        evaluator = SupervisedEvaluator(
            device=torch.device("cpu"),
            val_data_loader=DataLoader(dataset, batch_size=4),
            network=network,
            prepare_batch=prepare_pairs,
            key_val_metric={"retrieval": RetrievalInBatches(retrieval_features, batch=6)},
            decollate=False,
        )
        history = History(folder, evaluator)
        objects = {"optimizer": optimizer, "lr_scheduler": scheduler, "loss": loss, "history": history}
        checkpoint = TrainingCheckpoint(folder, network, evaluator, objects, resume)
        trainer = SupervisedTrainer(
            device=torch.device("cpu"),
            max_epochs=epochs,
            train_data_loader=DataLoader(dataset, batch_sampler=sampler),
            network=network,
            optimizer=optimizer,
            loss_function=loss,
            prepare_batch=prepare_pairs,
            iteration_update=ContrastiveUpdate(**options),
            decollate=False,
            train_handlers=[
                checkpoint,
                ValidateFirst(evaluator),
                SeedEpochs(3, [dataset, sampler]),
                LrScheduleHandler(scheduler, print_lr=False, epoch_level=False),
                ValidationHandler(1, evaluator),
                EarlyStopping(evaluator, patience),
                history,
            ],
        )
        return SimpleNamespace(
            trainer=trainer, evaluator=evaluator, network=network, loss=loss, history=history, checkpoint=checkpoint
        )

    return make
