"""A smaller scenario that is wrong in the same way."""

import copy


def _places(tree, path=()):
    """Yield the path of every value below a mapping or a list."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(items):
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from _places(value, (*path, key))


def _smaller(scenario):
    """Yield scenarios with one key less, or one whole number lower."""
    for path in _places(scenario):
        tried = copy.deepcopy(scenario)
        room = tried
        for key in path[:-1]:
            room = room[key]
        value = room[path[-1]]
        if isinstance(value, int) and value > 1:
            room[path[-1]] = 1 if value > 8 else value - 1
        else:
            del room[path[-1]]
        yield tried


def shrunk(scenario, is_wrong):
    """Return the smallest scenario found for which ``is_wrong`` still holds."""
    while True:
        for tried in _smaller(scenario):
            if is_wrong(tried):
                scenario = tried
                break
        else:
            return scenario
