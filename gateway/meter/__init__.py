"""Who gets how much, and what they wait for: counters, rates, stalls, and how they are shown."""
