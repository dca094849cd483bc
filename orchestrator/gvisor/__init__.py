"""What gVisor is: its releases and their checked files, its flags, its drivers, the scripts that call it on a node.

This room holds facts and the work on files of the machine it runs on. It knows neither nodes nor Ansible; planning and
execution build on it.
"""
