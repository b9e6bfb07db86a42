"""What lies under all of netsim."""
