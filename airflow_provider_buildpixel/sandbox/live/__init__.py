"""What the service sends by itself: Socket.IO events and webhooks."""
