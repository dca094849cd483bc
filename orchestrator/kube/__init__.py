"""How to talk to an API server: credentials, client, reflector, work queue, Lease, events.

Modelled on Kubernetes' own client-go and named as there, in the size that this product needs. What is asked and written
is the controller's; this room knows no verb and no object of Gardener's.
"""
