"""The crawler's side: worker processes, who gets which request, and what if one dies."""
