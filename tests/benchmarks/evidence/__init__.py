"""The study: does S²VC do on the controlled set what the paper says, and by which of its parts?"""
