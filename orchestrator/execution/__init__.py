"""How a plan is carried out: Ansible runs in child processes, their events become results per host.

This room is the only one that imports ``ansible_runner``. It must not know what people type (``orchestrator.cli``) nor
decide what a host needs (``orchestrator.planning``).
"""
