"""How fast this handler and others are, how much memory they need, and what they lose."""
