"""nnU-Net: `build_dataset` writes its raw data, `plan` its plans, `NnUNetTraining` runs it in a process of its own."""
