"""What starts things: the command line, the local stack and the engine server."""
