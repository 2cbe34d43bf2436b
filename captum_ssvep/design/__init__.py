"""Which contrasts are shown, and how are components read from them?"""
