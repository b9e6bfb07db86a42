"""The work in a bare loop, one client after the other: what the others stand beside.

With the argument ``backwards`` clients are averaged from the last to the first, which
changes nothing but the rounding.
"""

import sys

from client import State, work


def main() -> None:
    own = work()
    total = sum(own.num_samples)
    state = own.state()
    clients = list(enumerate(own.num_samples))
    if sys.argv[1:] == ["backwards"]:
        clients.reverse()
    own.evaluate(state, 0)
    for start in range(own.rounds):
        mean: State = {name: tensor * 0 for name, tensor in state.items()}
        for client, count in clients:
            sent = own.train_from(state, client, start)
            for name, tensor in sent.items():
                mean[name] += tensor * (count / total)
        state = mean
        own.evaluate(state, start + 1)


if __name__ == "__main__":
    main()
