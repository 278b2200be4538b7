"""What a pre-trained backbone is worth: downstream tasks on the stored frames."""
