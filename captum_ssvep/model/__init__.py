"""How is a network listened to, and left as it was?"""
