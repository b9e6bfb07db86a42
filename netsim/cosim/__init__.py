"""Where the network and the learning meet: scenarios, runs, replays and studies."""
