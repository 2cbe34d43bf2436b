"""What holds over a data set?"""
