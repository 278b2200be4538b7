"""What can be wrong with a flow's file; apart, so that it can be named without importing torch."""


class FlowFileError(ValueError):
    """A file that holds no flow this project can run; the message says why, in one line."""
