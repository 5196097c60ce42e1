"""Weak supervision: zero-shot masks train an nnU-Net, whose checkpoints give a mask and how unsure they are of it.

Rooms in the order of a run, each importing only those before it: `pseudo` (masks and the gate), `nnunet` (data set,
plans, training), `ensemble` (prediction with its uncertainty), `report` (scores and a page). Beside them `folders` says
where a run's files lie, `dataset` goes from images and a text to a data set to train on, `resunet` trains MONAI's
U-Net on it instead.
"""
