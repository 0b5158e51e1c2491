"""One hypothesis profile for the core: deterministic (a failure repeats), no deadline (the machines are slow)."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "core",
    max_examples=50,
    deadline=None,
    derandomize=True,
    # Generation is measured in wall-clock time, which says nothing on a shared machine.
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("core")
