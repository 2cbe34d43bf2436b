"""What does the command line run? An embedded network for digits, and any classifier."""
