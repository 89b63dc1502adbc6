"""Signed addresses of artifacts, on an origin of their own."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import urlencode

GOOD_FOR = 24 * 3600.0


@dataclass
class Signer:
    """Signs and checks addresses of artifacts; the origin is known when the store listens."""

    secret: bytes
    origin: str = ""

    def url(self, folder: str, build_id: str, expires_at: float) -> str:
        """Return the signed address of a build's artifact."""
        path = f"/{folder}/{build_id}.tar.gz"
        expires = str(int(expires_at))
        query = urlencode({"Expires": expires, "Signature": self._sign(path, expires)})
        return f"{self.origin}{path}?{query}"

    def good(self, path: str, expires: str, signature: str) -> bool:
        """Say whether a signature is ours."""
        return hmac.compare_digest(self._sign(path, expires), signature)

    def _sign(self, path: str, expires: str) -> str:
        return hmac.new(self.secret, f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()
