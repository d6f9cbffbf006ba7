"""Drivers: how the connections of one client process are kept busy.

``by_readiness`` drives split sessions from one thread; ``by_threads`` drives any session, one thread each. Both are
closed loops: a connection starts its next operation when the last one has ended, until the window is over; what is
under way then is finished and counted.
"""
