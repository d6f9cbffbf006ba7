"""The S3 face of Forebay: clients, requests, upstream. Imports run downward, from here to ``cache``."""
