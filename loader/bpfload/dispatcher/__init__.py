"""Several XDP programs on one network device: a dispatcher that calls them in order of their priorities."""
