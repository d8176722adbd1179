"""A page to speak into, for browsers: plain files, and what serves them."""
