"""The jobs run stages over all shards of a cache: encode, render and repair. estimate gives the cost of a render."""
