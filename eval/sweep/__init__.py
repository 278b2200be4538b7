"""A sweep: which variant is worth most? Trains and evaluates each beside MoCo without S²VC, over several seeds."""
