"""Files, HDF5 and object stores: whatever is written appears whole, or not at all."""
