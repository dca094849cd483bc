"""How to ask a node's container runtime: its state, and a proof that a sandbox of ours really runs.

Nothing here changes a node: a proof starts one pod sandbox and takes it away again. What is to be installed is decided
in `orchestrator.planning`, and carried out by the roles. Callers do not import this room, they run it as a program of
its own (`python -m orchestrator.cri`, see `__main__`): gRPC keeps threads that must not live in a process that forks,
as Ansible's workers do, and a program can be given a deadline that holds even when gRPC hangs.
"""
