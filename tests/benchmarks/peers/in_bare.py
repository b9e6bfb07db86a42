"""The work in a bare loop, one client after the other: what the others stand beside."""

from client import State, work


def main() -> None:
    own = work()
    total = sum(own.num_samples)
    state = own.state()
    own.evaluate(state, 0)
    for start in range(own.rounds):
        mean: State = {name: tensor * 0 for name, tensor in state.items()}
        for client, count in enumerate(own.num_samples):
            sent = own.train_from(state, client, start)
            for name, tensor in sent.items():
                mean[name] += tensor * (count / total)
        state = mean
        own.evaluate(state, start + 1)


if __name__ == "__main__":
    main()
