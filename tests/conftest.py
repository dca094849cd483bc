"""What holds for every test: a machine under load is slow, which is no failure of a property."""

from hypothesis import HealthCheck, settings

settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# `make exhaustive` asks for it. The option is heard after this file and before any test module is read.
settings.register_profile("exhaustive", settings.get_profile("any-machine"), max_examples=1000)
settings.load_profile("any-machine")
