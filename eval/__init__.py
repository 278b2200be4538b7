"""Evaluation of a pre-trained backbone, by downstream tasks on the stored frames and by analyses."""
