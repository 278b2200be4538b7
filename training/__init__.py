"""Contrastive pre-training on cached pairs."""
