"""Pictures of a cache: originals and variants side by side."""
