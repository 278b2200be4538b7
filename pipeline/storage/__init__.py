"""This package handles files, HDF5 and object stores: whatever is written appears complete or not at all."""
