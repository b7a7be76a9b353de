"""Training: an experiment's settings in, checkpoints and scores out."""
