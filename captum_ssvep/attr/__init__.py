"""How do Captum users call it?"""
