"""Ask a service on this machine whether it is ready: `python -m service.probe`, the container's health check.

It is told what to ask by the service's own variables, and imports nothing large, because it runs every few seconds.
"""

from __future__ import annotations

import os
import ssl
import urllib.request


def main() -> int:
    """Return 0 if /ready answers 200. Raises OSError otherwise."""
    scheme = "https" if os.environ.get("NMT_TLS_CERT") else "http"
    context = ssl._create_unverified_context() if scheme == "https" else None  # its certificate has another name
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    url = f"{scheme}://127.0.0.1:{os.environ.get('NMT_PORT', '5000')}/ready"
    urllib.request.build_opener(*handlers).open(url, timeout=9).close()
    return 0


if __name__ == "__main__":
    main()
