"""Report what is inside a cache, and which share of the latents each alpha keeps."""
