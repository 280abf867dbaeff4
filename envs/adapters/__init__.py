"""Doors to other packages' interfaces; each file touches one of them."""
