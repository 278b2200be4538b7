"""Contrastive pre-training on cached pairs: backbones, the pair loader, augmentation, MoCo, and the loop."""
