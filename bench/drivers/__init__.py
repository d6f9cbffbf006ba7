"""Drivers: how the connections of one client process are kept busy.

``by_readiness`` drives split sessions from one thread; ``by_threads`` drives any session, one thread each. In a closed
loop a connection starts its next operation when the last one has ended; in an open loop (``Run.arrivals``) a free
connection starts the next operation when its turn on the schedule comes, at once if that is past. Nothing begins after
the window; what is under way then is finished and counted. A driver ends earlier where all operations are done.
"""
