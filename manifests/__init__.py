"""Which videos there are: one table, and readers of UCF101, HMDB51, Kinetics, plain lists and plain folders."""
