"""How to talk to an API server: credentials, client, reflector, work queue, Lease, events.

Modelled on Kubernetes' own client-go and named as there, in the size that this product needs. What is asked and written
is the controller's. Of Gardener this room knows only which Secrets lead to a Shoot and what its heartbeat is called.
"""
