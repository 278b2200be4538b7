"""Picture the videos of a cache: originals and variants side by side."""
