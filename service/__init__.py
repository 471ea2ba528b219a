"""HTTP service for exported translation models.

The way of a request: app (routes) -> body, schemas, limits (checks) -> models (which model) -> worker (the thread that
runs a model's search) -> answer. Of ``nmt`` it uses only what translation needs, no training code.
"""

import os

from nmt.openmp import choose_waiting

choose_waiting(spin=False)  # here, because torch is loaded later, with the models
# oneDNN, which multiplies bfloat16 matrices, keeps 1,024 compiled products, one for each shape: more than a gigabyte.
# With 128 it decodes as fast. It reads this when it is first used.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
