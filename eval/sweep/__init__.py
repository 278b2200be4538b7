"""A sweep over variants: it trains and evaluates each, and MoCo without S²VC, over several seeds."""
