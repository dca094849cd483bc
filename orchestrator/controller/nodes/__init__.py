"""The node loop: which nodes of a pool need what, one run for each, and what the Node then says. ADR 0017.

``mark`` is what a Node carries of ours, ``plan`` decides (both pure), an ``executor`` runs, ``loop`` brings them
together whenever something changes.
"""
