"""The checkpoints of a training as one predictor: `CheckpointEnsemble`, `EnsembleNetwork`, `EnsemblePrediction`."""
