"""Provide what every command line shares: progress, options, endings, exit codes."""
