"""The live channel: what BuildPixel says over Socket.IO, and the connections that receive it."""
