"""The floors of the house, and what breaks them in a tree of sources."""

import ast

FLOORS = (  # from the top; a room imports rooms of lower floors only
    ("netsim.__main__",),
    ("netsim.cli",),
    ("netsim",),
    ("netsim.report", "netsim.timeline", "netsim.tune", "netsim.verify"),
    ("netsim.study",),
    ("netsim.cosim",),
    ("netsim.runs", "netsim.server"),
    ("netsim.client",),
    ("netsim.population",),
    ("netsim.availability", "netsim.network"),
    ("netsim.sharing",),
    ("netsim.band",),
    ("netsim.mobility", "netsim.policy"),
    ("netsim.devices", "netsim.learner"),
    ("netsim.channel",),
    ("netsim.scenario", "netsim.trace"),
    ("netsim.core",),
    ("netsim.errors",),
    ("fl.calibration", "fl.step_times", "fl.merge_study"),
    ("fl.federation", "fl.flower"),
    ("fl.training", "fl.workers"),
    ("fl.costs", "fl.peft_folders"),
    ("fl.settings",),
    ("fl.aggregation", "fl.local", "fl.partition"),
    ("fl.model",),
    ("fl.backbones",),
    ("fl.tasks",),
    ("fl.failure", "fl.memory"),
    ("fl.contract", "fl.record", "fl.streams"),
    ("fl",),
)


def sources(root):
    """Return the path of every module of both packages by its name."""
    found = {}
    for package in ("netsim", "fl"):
        for path in sorted((root / package).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imports(root):
    """Return for every module the modules of the tree that it imports, wherever it
    does, for type checking or within a function too."""
    known = sources(root)
    graph = {}
    for name, path in known.items():
        found = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    found.add(inner if inner in known else node.module)
        graph[name] = sorted(found & set(known) - {name})
    return graph


def circles(graph):
    """Return the sets of modules that import each other round about (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(name):
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            place = stack.index(name)
            if len(stack) - place > 1:
                found.append(sorted(stack[place:]))
            del stack[place:]

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return found


def room(name):
    """Return the package within netsim or fl, or the file beside them."""
    return ".".join(name.split(".")[:2])


def upward(graph, floors=FLOORS):
    """Return the imports that do not lead to a lower floor, each as one line."""
    level = {name: n for n, rooms in enumerate(floors) for name in rooms}
    return [
        f"{name} imports {other}"
        for name in graph
        for other in graph[name]
        if room(name) != room(other)
        and name.split(".")[0] == other.split(".")[0]
        and level[room(other)] <= level[room(name)]
    ]


def towers(floors=FLOORS):
    """Return the floors of both packages, each a list of rooms, from the top."""
    netsim = [rooms for rooms in floors if rooms[0].startswith("netsim")]
    return netsim, [rooms for rooms in floors if rooms not in netsim]


def drawn():
    """Return the picture of both packages side by side, ground floors below."""
    rows, width = [], 44
    left, right = towers()
    right = [()] * (len(left) - len(right)) + right
    for level, sides in enumerate(zip(left, right, strict=True)):
        cells = [
            " · ".join(one.split(".")[1] if "." in one else f"({one})" for one in rooms)
            for rooms in sides
        ]
        rows.append(f"{len(left) - level:>2}  {cells[0]:<{width}}{cells[1]}".rstrip())
    head = f"    {'netsim':<{width}}fl"
    return "\n".join(["```text", head, *rows, "```"])
