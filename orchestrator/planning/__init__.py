"""What to do: values in, values out. Nothing in this room reads a file, starts a process or opens a socket."""
