"""hearout inside other frameworks: a module for each, which needs that framework installed."""
