"""The stages over all shards of a cache: encode, render, repair, and what a render will cost."""
