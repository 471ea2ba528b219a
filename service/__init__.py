"""HTTP service for exported translation models.

The way of a request: app (routes) -> body, schemas, limits (checks) -> models (which model) -> worker (the thread that
runs a model's search) -> answer. Of ``nmt`` it uses only what translation needs, no training code.
"""

from nmt.openmp import choose_waiting

choose_waiting(spin=False)  # here, because torch is loaded later, with the models
