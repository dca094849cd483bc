"""What is done about a ContainerRuntime, one verb in each module; ``controller/verb.py`` says which applies.

A verb may come again at any time and finds what an earlier try left.
"""
