"""gVisor on Kubernetes nodes: installed, proved, kept, and taken away without a trace."""
