"""The live channel: BuildPixel's Socket.IO events, and the connections that receive them."""
