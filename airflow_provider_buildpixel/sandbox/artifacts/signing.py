"""Signed URLs of artifacts, on a separate origin."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import urlencode

URL_LIFETIME = 24 * 3600.0


@dataclass
class UrlSigner:
    """Signs and checks URLs of artifacts; `origin` is set once the artifact store listens."""

    secret: bytes
    origin: str = ""

    def url(self, folder: str, build_id: str, expires_at: float) -> str:
        """Return the signed URL of a build's artifact."""
        path = f"/{folder}/{build_id}.tar.gz"
        expires = str(int(expires_at))
        query = urlencode({"Expires": expires, "Signature": self._sign(path, expires)})
        return f"{self.origin}{path}?{query}"

    def is_valid(self, path: str, expires: str, signature: str) -> bool:
        """Whether the signature belongs to this path and expiry time."""
        return hmac.compare_digest(self._sign(path, expires), signature)

    def _sign(self, path: str, expires: str) -> str:
        return hmac.new(self.secret, f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()
