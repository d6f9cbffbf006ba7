"""Connections to upstream: HTTP/1.1 as a client, one request at a time on each.

``answers`` is the reader of an answer (no I/O), ``blocks`` the memory that it arrives in, ``tap`` a socket in a
thread's hands, ``wire`` one connection, ``pool`` all of them. Written for what a cache does all day: a body of known
length is received into the memory that is hashed and written, with no copy on its way and no parser, and what a miss
costs beside is little. RFC 9112.
"""
