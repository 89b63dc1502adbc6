"""BuildPixel's REST API: requests, responses and values, and the two HTTP clients."""
