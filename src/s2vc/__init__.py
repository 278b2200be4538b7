"""S²VC (AAAI 2022) as an offline pipeline: motion-preserved video datasets, computed once.

The five packages are links to the folders of the same names at the root of the repository.
"""

__version__ = "0.1.0"
