"""Write the built-in sample and the controlled set as real video files."""
