"""BuildPixel's REST API: its requests, answers and values, and two clients that send them."""
