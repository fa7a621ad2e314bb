"""The security headers of every answer.

It must not know which page is served: a page that needs another policy sets its own header, and that one stands.
"""

from collections.abc import Iterable

from starlette.datastructures import MutableHeaders

FIXED_PAGE = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
"""For pages without any script: log-in and API reference."""

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
CACHED_PATHS = ("/assets/", "/_dash-component-suites/")
"""Files that hold nobody's particulars; all else is kept by no cache."""


class Policy:
    """Builds the headers.

    Args:
        script_hashes: CSP hashes of Dash's inline scripts; no other inline script runs.
        secure: whether the site is served over TLS.
    """

    def __init__(self, script_hashes: Iterable[str], secure: bool) -> None:
        self._script = " ".join(["'self'", *script_hashes])
        self._secure = secure

    def content_security(self, host: str) -> str:
        """The policy of the Dash pages at `host` (already checked against the allow-list).

        Styles are inline because React components set them; plotly's map runs its workers from blobs. The socket's
        address is spelled out because some browsers' `'self'` does not cover `ws:`.
        """
        return (
            f"default-src 'self'; script-src {self._script}; worker-src blob: 'self'; "
            "style-src 'self' 'unsafe-inline'; "
            f"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws://{host} wss://{host}; "
            "form-action 'self'; frame-ancestors 'none'; object-src 'none'; base-uri 'none'"
        )

    def add(self, headers: MutableHeaders, path: str, host: str) -> None:
        """Adds what the answer to `path` does not say itself."""
        for name, value in ALWAYS.items():
            headers.setdefault(name, value)
        headers.setdefault("Content-Security-Policy", self.content_security(host))
        if not path.startswith(CACHED_PATHS):
            headers.setdefault("Cache-Control", "no-store")
        if self._secure:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000")
