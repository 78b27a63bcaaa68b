"""The studio: a page in the browser that looks inside models, and the server behind it, on this machine alone.

Traits: one thread computes and people take turns; whoever leaves is computed for no longer; models are opened once
and kept; nothing is asked of the network, and no other page of the browser may ask anything of the studio.
"""
