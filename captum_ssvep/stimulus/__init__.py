"""What does the network see?"""
