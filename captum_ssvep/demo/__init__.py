"""What does the command line run? The package's own network for digits, or any classifier."""
