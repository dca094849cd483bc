"""What people type: options in, tables or documents out, exit codes at the end.

Every module that costs start-up time is imported by the command that needs it, never here.
"""
