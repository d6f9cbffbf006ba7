"""The other workers: the protocol between them, its client and its server."""
