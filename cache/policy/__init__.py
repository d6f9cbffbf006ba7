"""Eviction policies: which chunk goes next when the disk is full. Rules only; the evictor acts on them."""
