"""The lines that Forebay's speed is held to: a module for each group measures and judges it."""
