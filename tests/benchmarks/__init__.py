"""Programs that measure netsim: each is run by itself."""
