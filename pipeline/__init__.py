"""The pipeline turns videos into motion-preserved clips, computed once.

The modules of this folder hold the method; its folders hold storage, stages, jobs and commands.
"""
