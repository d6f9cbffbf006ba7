"""Between workers: chunks relayed from their owners, fills read along, invalidations, leases."""
